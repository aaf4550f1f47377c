-- ARGV: now, catalogue's version, holder, most that may wait in a lane, most bytes (0: no limit), begin of the window for equal
-- content (empty: the rule is off), the window's length (empty: no end); then for each request: the idempotency key, the body's
-- digest and the key's expiry (all empty: none; the digest says so), how many events it has, and for each of them: id, type, time,
-- md5, fingerprint, payload, key, extra, source, at (each of the last four empty: none),
-- whether the rule applies, the recipients' ids one after the other, '1' or '0' for each of them that is reserved,
-- `NUMBER:GROUP ` for each of them whose delivery has a group, the receipt.
--
-- Answers what became of each request: a status and, if it is stored, for each event either its first position, or the id and time
-- of the first event of this content. One that is refused has written nothing, and the others do not fail with it.
local now = tonumber(ARGV[1])
local catalogue, holder, max_waiting, max_bytes = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local window_begins, window = tonumber(ARGV[6]), tonumber(ARGV[7])

local about = call('HMGET', META, 'catalogue', 'position', 'bytes')
local position, used = tonumber(about[2] or 0), tonumber(about[3] or 0)
local holder_lives = is_alive(holder, now)

local function earlier_answer(key, digest)
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

local lanes_of_ids = {}

local function lane_of(id)
    local lane = lanes_of_ids[id]
    if lane == nil then
        lane = call('HGET', root .. 'lane-ids', id)
        lanes_of_ids[id] = lane
    end
    return lane
end

-- The events of a request, so many from a place in ARGV on; nothing where a recipient is not known.
local function read_events(first, count)
    local events = {}
    local arguments = ARGV
    for at = first, first + (count - 1) * 15, 15 do
        local event = {
            id = arguments[at], name = arguments[at + 1], time = arguments[at + 2], md5 = arguments[at + 3], print = arguments[at + 4],
            payload = arguments[at + 5], key = arguments[at + 6], extra = arguments[at + 7], source = arguments[at + 8], at = arguments[at + 9],
            deduplicate = arguments[at + 10] == '1', reserved = arguments[at + 12], receipt = arguments[at + 14],
            lanes = {}, groups = {},
        }
        local recipients, groups = arguments[at + 11], arguments[at + 13]
        if groups ~= '' then
            for number, group in string.gmatch(groups, '(%d+):(%-?%d+)') do
                event.groups[tonumber(number)] = group
            end
        end
        for from = 1, #recipients, 16 do
            local lane = lane_of(string.sub(recipients, from, from + 15))
            if not lane then
                return nil
            end
            event.lanes[#event.lanes + 1] = lane
        end
        event.bytes = EVENT_BYTES + #event.payload + DELIVERY_BYTES * #event.lanes
        events[#events + 1] = event
    end
    return events
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

-- The events that are stored, each with its time before it.
local in_time = {}

-- Stores an event and its deliveries; answers the first one's position.
local function store(event)
    local first = position + 1
    local head = event.md5 .. event.time .. ' ' .. int(first) .. ' ' .. field_of(#event.lanes) .. ' ' .. event.name
    put_event(event.id, head, event.payload, event.key, event.extra, event.source, event.at)
    local due
    in_time[#in_time + 1], in_time[#in_time + 2] = event.time, event.id
    for index, lane in ipairs(event.lanes) do
        position = position + 1
        local delivery = {
            position = position, event = event.id, state = WAITING, lane = lane, attempts = '0', holder = '0',
        }
        call('XADD', root .. 'got:' .. lane, int(position) .. '-0', 'd', '')
        if string.sub(event.reserved, index, index) == '1' then
            hold(delivery, holder)
        else
            due = due or int(math.max(tonumber(event.time), tonumber(event.at) or 0))
            delivery.group, delivery.sequence = event.groups[index], position
            if delivery.group then
                join_group(delivery)
            end
            write_delivery(delivery)
            wait(delivery, due)
        end
    end
    used = used + event.bytes
    return first
end

-- Stores the events of a request, or finds why not before anything is written.
local function accept(key, digest, key_ends, first, count)
    local earlier = earlier_answer(key, digest)
    if earlier then
        return earlier
    end
    if about[1] ~= catalogue then
        return { 'stale' }
    end
    if not holder_lives then
        return { 'lost' }
    end
    local events = read_events(first, count)
    if not events then
        return { 'unknown' }
    end
    local more = 0
    for _, event in ipairs(events) do
        more = more + event.bytes
    end
    if max_bytes > 0 and used + more > max_bytes then
        return { 'full', int(used) }
    end

    local answer, remembered = { 'ok' }, { key_ends }
    for _, event in ipairs(events) do
        local earliest = first_of_content(event)
        if earliest then
            answer[#answer + 1] = { earliest.id, earliest.time }
        else
            answer[#answer + 1] = { store(event) }
        end
        remembered[#remembered + 1] = event.receipt
        remembered[#remembered + 1] = earliest and earliest.id or ''
        remembered[#remembered + 1] = earliest and earliest.time or ''
    end
    if digest ~= '' then
        call('HSET', root .. 'keys', key, digest .. cmsgpack.pack(remembered))
        call('ZADD', root .. 'key-ends', key_ends, key)
    end
    return answer
end

local answer, at = { 'ok' }, 8
while at <= #ARGV do
    local count = tonumber(ARGV[at + 3])
    answer[#answer + 1] = accept(ARGV[at], ARGV[at + 1], ARGV[at + 2], at + 4, count)
    at = at + 4 + count * 15
end
if #in_time > 0 then
    call_with_all('ZADD', root .. 'events', in_time)
    call('HSET', META, 'position', int(position), 'bytes', int(used))
end
settle(now, max_waiting)
return answer
