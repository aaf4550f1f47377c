-- ARGV: id, the position to begin after (empty: the first), limit. Answers the event's head, payload and key, and its deliveries.
local head, payload, key = unpack(call('HMGET', root .. 'event:' .. ARGV[1], 'head', 'payload', 'key'))
if not head then
    return { 'missing' }
end
local about = read_head(head)
local from = math.max(about.first, (tonumber(ARGV[2]) or 0) + 1)
local answer = { 'ok', head, payload, key or '' }
for position = from, math.min(about.first + about.count - 1, from + tonumber(ARGV[3]) - 1) do
    answer[#answer + 1] = record(read_delivery(position))
end
return answer
