-- ARGV: subscription's id, state (empty: all), the position to begin before (empty: the newest), limit. Answers the position
-- at which the search was broken off (empty: at its end), and the deliveries, the newest first.
local lane = call('HGET', root .. 'lane-ids', ARGV[1])
local state, before, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local answer = { 'ok', '' }
if not lane then
    return answer
end

-- So many are looked at in a call: of a rare state there may be few among very many.
local LOOK_AT = 1000

-- The positions before one, the newest first. What waits and what has failed has an index of its own.
local function positions()
    local index = state == WAITING and 'wait:' or state == FAILED and 'failed:'
    local found = {}
    if index then
        local newest = before == '' and '+inf' or '(' .. before
        found = call('ZREVRANGEBYSCORE', root .. index .. lane, newest, '-inf', 'LIMIT', 0, LOOK_AT)
    else
        local newest = before == '' and '+' or '(' .. before .. '-0'
        for _, entry in ipairs(call('XREVRANGE', root .. 'got:' .. lane, newest, '-', 'COUNT', LOOK_AT)) do
            found[#found + 1] = string.match(entry[1], '^%d+')
        end
    end
    return found
end

local found = positions()
for _, position in ipairs(found) do
    local delivery = read_delivery(tonumber(position))
    -- What waits may read as cancelled.
    local row = (state == '' or delivery.state == state or delivery.state == WAITING) and record(delivery)
    if row and (state == '' or row[9] == state) then
        answer[#answer + 1] = row
        if #answer - 2 == limit then
            return answer
        end
    end
end
if #found == LOOK_AT then
    answer[2] = int(tonumber(found[#found]))
end
return answer
