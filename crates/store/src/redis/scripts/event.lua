-- ARGV: id, the position to begin after (empty: the first), limit. Answers the event's head, payload, key and extra, and its deliveries.
local row = event_row(ARGV[1])
if not row[1] then
    return { 'missing' }
end
local about = read_head(row[1])
local from = math.max(about.first, (tonumber(ARGV[2]) or 0) + 1)
local answer = { 'ok', unpack(row) }
for position = from, math.min(about.first + about.count - 1, from + tonumber(ARGV[3]) - 1) do
    answer[#answer + 1] = record(read_delivery(position))
end
return answer
