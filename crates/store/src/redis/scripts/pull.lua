-- ARGV: subscription's id, the place to begin after, limit, most bytes. Answers for each: position, its place, event, head, payload,
-- key, extra.
local lane = call('HGET', root .. 'lane-ids', ARGV[1])
local after, limit, max_bytes = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local answer, bytes = { 'ok' }, 0
if not lane then
    return answer
end
for _, position in ipairs(behind(lane, '0', after, limit)) do
    local delivery = read_delivery(position)
    if bytes >= max_bytes then
        break
    end
    if delivery.state == WAITING then
        local row = event_row(delivery.event)
        answer[#answer + 1] = { int(position), int(delivery.sequence), delivery.event, unpack(row) }
        bytes = bytes + #row[2]
    end
end
return answer
