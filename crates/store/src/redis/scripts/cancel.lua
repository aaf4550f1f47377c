-- ARGV: event, the position to go on from (empty: the first), how many are looked at, now. Marks the event as cancelled. Answers how many
-- deliveries were, and the position to go on from (empty: it is done).
local key = root .. 'event:' .. ARGV[1]
local head = call('HGET', key, 'head')
if not head then
    return { 'missing' }
end
local extra, mark = call('HGET', key, 'extra'), '"cancelled_at":' .. ARGV[4] .. '}'
if not extra or extra == '' then
    call('HSET', key, 'extra', '{' .. mark)
elseif not cjson.decode(extra).cancelled_at then
    -- It is never an object without members.
    call('HSET', key, 'extra', string.sub(extra, 1, -2) .. ',' .. mark)
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
