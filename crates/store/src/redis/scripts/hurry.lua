-- ARGV: account's id, id, now, how many at the most.
--
-- Makes what waits for another try due now, the first of it first. Answers how many deliveries that concerned.
local lane = own_lane(ARGV[1], ARGV[2])
if not lane then
    return { 'ok', 0 }
end
local now, due = ARGV[3], root .. 'due:' .. lane
local later = call('ZRANGEBYSCORE', due, '(' .. now, '+inf', 'LIMIT', 0, ARGV[4])
for _, member in ipairs(later) do
    call('ZADD', due, now, member)
end
touch(lane)
settle(tonumber(now))
return { 'ok', #later }
