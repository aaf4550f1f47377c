-- ARGV: account's id, the lane to begin after, limit.
local answer = { 'ok' }
local account = call('HGET', root .. 'account-ids', ARGV[1])
if account then
    local lanes = call('ZRANGEBYSCORE', root .. 'lanes-of:' .. account, '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[3])
    for _, lane in ipairs(lanes) do
        answer[#answer + 1] = lane
        answer[#answer + 1] = status(lane)
    end
end
return answer
