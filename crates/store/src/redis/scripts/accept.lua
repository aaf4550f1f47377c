-- ARGV: now, catalogue's version, holder, most that may wait in a lane, most bytes (0: no limit), begin of the window for equal
-- content (empty: the rule is off), the window's length (empty: no end); then for each request: how many events it has, the
-- digest of its body if it has an idempotency key (else empty) and then the key and the key's expiry; for each of its events: id,
-- type, time, md5, payload, the recipients' ids one after the other, '1' or '0' for each of them that is reserved, and a letter
-- for each of the values that follow and that only some events have, as `SOME_HAVE` says.
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

-- `print` and `overriding` are the fingerprint of an event to which the rule applies, or of one that overrides it; `groups` has
-- `NUMBER:GROUP ` for each recipient whose delivery has a group.
local SOME_HAVE = {
    p = 'print', o = 'overriding', k = 'key', x = 'extra', s = 'source', a = 'at', g = 'groups', r = 'receipt',
}

-- The lanes of recipients; nothing where one is not known.
local function read_lanes(recipients)
    local lanes = {}
    for from = 1, #recipients, 16 do
        local lane = lane_of(string.sub(recipients, from, from + 15))
        if not lane then
            return nil
        end
        lanes[#lanes + 1] = lane
    end
    return lanes
end

-- So many events from a place in ARGV on, and the place behind them.
local function read_events(at, count)
    local events, values = {}, ARGV
    for number = 1, count do
        local event = {
            id = values[at], name = values[at + 1], time = values[at + 2], md5 = values[at + 3], payload = values[at + 4],
            lanes = read_lanes(values[at + 5]), reserved = values[at + 6],
        }
        local letters = values[at + 7]
        at = at + 8
        for index = 1, #letters do
            event[SOME_HAVE[string.sub(letters, index, index)]] = values[at]
            at = at + 1
        end
        events[number] = event
    end
    return events, at
end

local function size_of(event)
    return EVENT_BYTES + #event.payload + DELIVERY_BYTES * #event.lanes
end

-- The groups of an event's deliveries by the recipients' numbers.
local function read_groups(event)
    local groups = {}
    for number, group in string.gmatch(event.groups or '', '(%d+):(%-?%d+)') do
        groups[tonumber(number)] = group
    end
    return groups
end

local seen = {}

-- The first event of this content within the window, if this one is not to be sent again. Otherwise this one is the first from
-- now on, unless it overrides the rule while an earlier one still counts.
local function first_of_content(event)
    if not window_begins then
        return nil
    end
    local fingerprint = event.print or event.overriding
    local first = seen[fingerprint]
    if not first then
        local kept = call('HGET', root .. 'prints', fingerprint)
        local time = kept and string.sub(kept, 17)
        first = kept and tonumber(time) > window_begins and { id = string.sub(kept, 1, 16), time = time }
    end
    if first then
        seen[fingerprint] = first
        return event.print and first or nil
    end
    call('HSET', root .. 'prints', fingerprint, event.id .. event.time)
    local ends = window and int(tonumber(event.time) + window) or '+inf'
    call('ZADD', root .. 'print-ends', ends, fingerprint)
    seen[fingerprint] = { id = event.id, time = event.time }
    return nil
end

-- The events that are stored, each with its time before it.
local in_time = {}

local RESERVED = string.byte('1')

-- Stores an event and its deliveries; answers the first one's position.
local function store(event)
    local first = position + 1
    local head = event.md5 .. event.time .. ' ' .. int(first) .. ' ' .. field_of(#event.lanes) .. ' ' .. event.name
    put_event(event.id, head, event.payload, event.key or '', event.extra or '', event.source or '', event.at or '')
    local due
    in_time[#in_time + 1], in_time[#in_time + 2] = event.time, event.id
    local lanes, reserved, groups = event.lanes, event.reserved, nil
    for index = 1, #lanes do
        local lane = lanes[index]
        position = position + 1
        call('XADD', root .. 'got:' .. lane, int(position) .. '-0', 'd', '')
        if string.byte(reserved, index) == RESERVED then
            hold_new(position, event.id, lane, holder)
        else
            groups = groups or read_groups(event)
            due = due or int(math.max(tonumber(event.time), tonumber(event.at) or 0))
            local delivery = {
                position = position, event = event.id, state = WAITING, lane = lane, attempts = '0', holder = '0',
                group = groups[index], sequence = position,
            }
            if delivery.group then
                join_group(delivery)
            end
            write_delivery(delivery)
            wait(delivery, due)
        end
    end
    used = used + size_of(event)
    return first
end

-- Stores the events of a request, or finds why not before anything is written.
local function accept(events, digest, key, key_ends)
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
    local more = 0
    for _, event in ipairs(events) do
        if not event.lanes then
            return { 'unknown' }
        end
        more = more + size_of(event)
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
        if digest ~= '' then
            remembered[#remembered + 1] = event.receipt
            remembered[#remembered + 1] = earliest and earliest.id or ''
            remembered[#remembered + 1] = earliest and earliest.time or ''
        end
    end
    if digest ~= '' then
        call('HSET', root .. 'keys', key, digest .. cmsgpack.pack(remembered))
        call('ZADD', root .. 'key-ends', key_ends, key)
    end
    return answer
end

local answer, at = { 'ok' }, 8
while at <= #ARGV do
    local count, digest, key, key_ends = tonumber(ARGV[at]), ARGV[at + 1], nil, nil
    at = at + 2
    if digest ~= '' then
        key, key_ends = ARGV[at], ARGV[at + 1]
        at = at + 2
    end
    local events
    events, at = read_events(at, count)
    answer[#answer + 1] = accept(events, digest, key, key_ends)
end
if #in_time > 0 then
    call_with_all('ZADD', root .. 'events', in_time)
    call('HSET', META, 'position', int(position), 'bytes', int(used))
end
settle(now, max_waiting)
return answer
