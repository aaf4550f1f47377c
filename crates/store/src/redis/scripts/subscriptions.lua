-- ARGV: account's id (empty: everybody's), the lane to begin after, limit.
local answer, limit = { 'ok' }, tonumber(ARGV[3])

local function add(lane)
    answer[#answer + 1] = lane
    answer[#answer + 1] = status(lane)
end

if ARGV[1] == '' then
    for lane = tonumber(ARGV[2]) + 1, tonumber(call('HGET', META, 'lane') or 0) do
        if #answer - 1 >= 2 * limit then
            break
        end
        if not is_deleted(int(lane)) then
            add(int(lane))
        end
    end
    return answer
end
local account = call('HGET', root .. 'account-ids', ARGV[1])
if account then
    local lanes = call('ZRANGEBYSCORE', root .. 'lanes-of:' .. account, '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])
    for _, lane in ipairs(lanes) do
        add(lane)
    end
end
return answer
