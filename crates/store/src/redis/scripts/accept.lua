-- ARGV: now, catalogue's version, holder, most that may wait in a lane, most bytes (0: no limit), begin of the window for equal
-- content (empty: the rule is off), the window's length (empty: no end); then the idempotency key, the body's digest and the
-- key's expiry (all empty: none; the digest says so); then for each event: id, type, time, md5, fingerprint, payload, key, extra,
-- source, at (each of the last four empty: none),
-- whether the rule applies, the recipients' ids one after the other, '1' or '0' for each of them that is reserved,
-- `NUMBER:GROUP ` for each of them whose delivery has a group, the receipt.
--
-- Answers for each event either its first position, or the id and time of the first event of this content.
local now = tonumber(ARGV[1])
local catalogue, holder, max_waiting, max_bytes = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local window_begins, window = tonumber(ARGV[6]), tonumber(ARGV[7])
local key, digest, key_ends = ARGV[8], ARGV[9], ARGV[10]

local function earlier_answer()
    local kept = digest ~= '' and call('HGET', root .. 'keys', key)
    if not kept then
        return nil
    end
    local answer = cmsgpack.unpack(string.sub(kept, 33))
    if tonumber(table.remove(answer, 1)) <= now then
        return nil
    end
    if string.sub(kept, 1, 32) ~= digest then
        return { 'reused' }
    end
    table.insert(answer, 1, 'replayed')
    return answer
end

local events, lanes_of_ids = {}, {}

local function lane_of(id)
    local lane = lanes_of_ids[id]
    if lane == nil then
        lane = call('HGET', root .. 'lane-ids', id)
        lanes_of_ids[id] = lane
    end
    return lane
end

local function read_events()
    for at = 11, #ARGV, 15 do
        local event = {
            id = ARGV[at], name = ARGV[at + 1], time = ARGV[at + 2], md5 = ARGV[at + 3], print = ARGV[at + 4],
            payload = ARGV[at + 5], key = ARGV[at + 6], extra = ARGV[at + 7], source = ARGV[at + 8], at = ARGV[at + 9],
            deduplicate = ARGV[at + 10] == '1', reserved = ARGV[at + 12], receipt = ARGV[at + 14],
            lanes = {}, groups = {},
        }
        for number, group in string.gmatch(ARGV[at + 13], '(%d+):(%-?%d+)') do
            event.groups[tonumber(number)] = group
        end
        for from = 1, #ARGV[at + 11], 16 do
            local lane = lane_of(string.sub(ARGV[at + 11], from, from + 15))
            if not lane then
                return false
            end
            event.lanes[#event.lanes + 1] = lane
        end
        event.bytes = EVENT_BYTES + #event.payload + DELIVERY_BYTES * #event.lanes
        events[#events + 1] = event
    end
    return true
end

local seen = {}

-- The first event of this content within the window, if this one is not to be sent again. Otherwise this one is the first from
-- now on, unless it overrides the rule while an earlier one still counts.
local function first_of_content(event)
    if not window_begins then
        return nil
    end
    local first = seen[event.print]
    if not first then
        local kept = call('HGET', root .. 'prints', event.print)
        local time = kept and string.sub(kept, 17)
        first = kept and tonumber(time) > window_begins and { id = string.sub(kept, 1, 16), time = time }
    end
    if first then
        seen[event.print] = first
        return event.deduplicate and first or nil
    end
    call('HSET', root .. 'prints', event.print, event.id .. event.time)
    local ends = window and int(tonumber(event.time) + window) or '+inf'
    call('ZADD', root .. 'print-ends', ends, event.print)
    seen[event.print] = { id = event.id, time = event.time }
    return nil
end

-- Stores an event and its deliveries; answers the first one's position.
local function store(event)
    local first = call('HINCRBY', META, 'position', #event.lanes) - #event.lanes + 1
    local head = event.md5 .. table.concat({ event.time, int(first), int(#event.lanes), event.name }, ' ')
    put_event(event.id, head, event.payload, event.key, event.extra, event.source, event.at)
    local due = int(math.max(tonumber(event.time), tonumber(event.at) or 0))
    call('ZADD', root .. 'events', event.time, event.id)
    for index, lane in ipairs(event.lanes) do
        local delivery = {
            position = first + index - 1, event = event.id, state = WAITING, lane = lane, attempts = '0', holder = '0',
        }
        call('XADD', root .. 'got:' .. lane, int(delivery.position) .. '-0', 'd', '')
        if string.sub(event.reserved, index, index) == '1' then
            hold(delivery, holder)
        else
            delivery.group, delivery.sequence = event.groups[index], delivery.position
            if delivery.group then
                join_group(delivery)
            end
            write_delivery(delivery)
            wait(delivery, due)
        end
    end
    return first
end

local earlier = earlier_answer()
if earlier then
    return earlier
end
if call('HGET', META, 'catalogue') ~= catalogue then
    return { 'stale' }
end
if not is_alive(holder, now) then
    return { 'lost' }
end
if not read_events() then
    return { 'unknown' }
end
local more = 0
for _, event in ipairs(events) do
    more = more + event.bytes
end
local used = tonumber(call('HGET', META, 'bytes') or 0)
if max_bytes > 0 and used + more > max_bytes then
    return { 'full', int(used) }
end

local answer, remembered = { 'ok' }, { key_ends }
for _, event in ipairs(events) do
    local first = first_of_content(event)
    if first then
        more = more - event.bytes
        answer[#answer + 1] = { first.id, first.time }
    else
        answer[#answer + 1] = { store(event) }
    end
    remembered[#remembered + 1] = event.receipt
    remembered[#remembered + 1] = first and first.id or ''
    remembered[#remembered + 1] = first and first.time or ''
end
call('HINCRBY', META, 'bytes', int(more))
if digest ~= '' then
    call('HSET', root .. 'keys', key, digest .. cmsgpack.pack(remembered))
    call('ZADD', root .. 'key-ends', key_ends, key)
end
settle(now, max_waiting)
return answer
