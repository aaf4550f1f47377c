-- ARGV: account's id, id, now, how many at the most, how many to step over.
--
-- Makes what waits for another try due now, the first of it first. What is scheduled goes at its time, and no sooner. Answers how many
-- deliveries were looked at, and how many of them stay where they are.
local lane = own_lane(ARGV[1], ARGV[2])
if not lane then
    return { 'ok', 0, 0 }
end
local now, due, left = ARGV[3], root .. 'due:' .. lane, 0
local later = call('ZRANGEBYSCORE', due, '(' .. now, '+inf', 'LIMIT', ARGV[5], ARGV[4])
for _, member in ipairs(later) do
    local at = scheduled(read_delivery(tonumber(member)).event) or 0
    if at > tonumber(now) then
        left = left + 1
    else
        call('ZADD', due, now, member)
    end
end
touch(lane)
settle(tonumber(now))
return { 'ok', #later, left }
