-- ARGV: subscription's id, the place up to which what waits has arrived, the most at a call. Answers how much that was.
local lane = call('HGET', root .. 'lane-ids', ARGV[1])
local through, limit = tonumber(ARGV[2]), ARGV[3]
local confirmed = 0
if not lane then
    return { 'ok', 0 }
end
for _, position in ipairs(behind(lane, '0', 0, limit)) do
    local delivery = read_delivery(position)
    if delivery.sequence > through then
        break
    end
    if delivery.state == WAITING then
        take(delivery)
        delivery.state = DELIVERED
        leave_group(delivery)
        write_delivery(delivery)
        confirmed = confirmed + 1
    end
end
settle(0)
return { 'ok', confirmed }
