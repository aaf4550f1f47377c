-- ARGV: event, the position to go on from (empty: the first), how many are looked at. Answers how many were cancelled, and the position
-- to go on from (empty: it is done).
local head = call('HGET', root .. 'event:' .. ARGV[1], 'head')
if not head then
    return { 'missing' }
end
local about = read_head(head)
local from, limit, cancelled = tonumber(ARGV[2]) or about.first, tonumber(ARGV[3]), 0
local last = about.first + about.count - 1
for position = from, math.min(last, from + limit - 1) do
    local delivery = read_delivery(position)
    -- What waited when its subscription was deleted is cancelled already, and in no index.
    if delivery.state == WAITING and not is_deleted(delivery.lane) then
        take(delivery)
        leave_group(delivery)
        delivery.state = CANCELLED
        write_delivery(delivery)
        cancelled = cancelled + 1
    end
end
settle(0)
return { 'ok', cancelled, from + limit <= last and int(from + limit) or '' }
