-- ARGV: subscription's id, now, most that may wait in a lane, positions. Answers those that wait now.
local lane = call('HGET', root .. 'lane-ids', ARGV[1])
local now = tonumber(ARGV[2])
local answer = { 'ok' }
if not lane or is_deleted(lane) then
    return answer
end
for index = 4, #ARGV do
    local delivery = read_delivery(tonumber(ARGV[index]))
    local state = delivery and delivery.lane == lane and delivery.state
    if state == DELIVERED or state == FAILED or state == EXPIRED then
        if state == FAILED then
            call('ZREM', root .. 'failed:' .. lane, place(delivery.position))
        end
        delivery.state = WAITING
        write_delivery(delivery)
        queue(delivery, now)
        answer[#answer + 1] = int(delivery.position)
    end
end
settle(now, tonumber(ARGV[3]))
return answer
