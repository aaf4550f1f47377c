-- ARGV: the time before which events go, now, how many events to step over. Answers how many events went and how many of their
-- deliveries had not ended, how many events were left since they are being sent, and whether there may be more.
local before, now, step_over = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- At a call: events that are looked at, deliveries that go (those of one event at the least), keys and fingerprints that go.
local LOOK_AT, DELIVERIES, ENDED = 200, 2000, 1000

local function forget_ended(values, ends)
    local ended = call('ZRANGEBYSCORE', root .. ends, '-inf', now, 'LIMIT', 0, ENDED)
    for _, key in ipairs(ended) do
        call('HDEL', root .. values, key)
        call('ZREM', root .. ends, key)
    end
    return #ended == ENDED
end

-- The event's deliveries, unless one of them is being sent.
local function deliveries_of(about)
    local deliveries = {}
    for position = about.first, about.first + about.count - 1 do
        local delivery = read_delivery(position)
        if delivery.state == SENDING then
            return nil
        end
        deliveries[#deliveries + 1] = delivery
    end
    return deliveries
end

-- Takes a delivery away; answers whether it had not ended.
local function take_away(delivery)
    local member, lane = place(delivery.position), delivery.lane
    local waited = call('ZREM', root .. 'wait:' .. lane, member) == 1
    if waited then
        take(delivery)
        leave_group(delivery)
        call('HINCRBY', root .. 'lane:' .. lane, 'expired', 1)
    elseif delivery.state == FAILED then
        call('ZREM', root .. 'failed:' .. lane, member)
    end
    local list = root .. 'got:' .. lane
    call('XDEL', list, int(delivery.position) .. '-0')
    if call('XLEN', list) == 0 then
        call('DEL', list)
    end
    call('HDEL', slot(delivery.position))
    return waited
end

local function bytes_of(event, deliveries, about)
    local key = root .. 'event:' .. event
    local bytes = EVENT_BYTES + call('HSTRLEN', key, 'payload') + DELIVERY_BYTES * about.count
    for _, delivery in ipairs(deliveries) do
        for number = 1, tonumber(delivery.attempts) do
            local length = call('HSTRLEN', key, int(delivery.position - about.first) .. '.' .. int(number))
            bytes = bytes + (length == 0 and 0 or length + ATTEMPT_BYTES)
        end
    end
    return bytes
end

local more = forget_ended('prints', 'print-ends')
more = forget_ended('keys', 'key-ends') or more
local events, expired, left, gone = 0, 0, 0, 0
local old = call('ZRANGEBYSCORE', root .. 'events', '-inf', '(' .. before, 'LIMIT', step_over, LOOK_AT)
more = more or #old == LOOK_AT
for _, event in ipairs(old) do
    if gone >= DELIVERIES then
        more = true
        break
    end
    local about = read_head(call('HGET', root .. 'event:' .. event, 'head'))
    local deliveries = deliveries_of(about)
    if deliveries then
        call('HINCRBY', META, 'bytes', int(-bytes_of(event, deliveries, about)))
        for _, delivery in ipairs(deliveries) do
            expired = expired + (take_away(delivery) and 1 or 0)
        end
        local source = call('HGET', root .. 'event:' .. event, 'source')
        if source then
            call('SREM', root .. 'source:' .. source, event)
        end
        call('UNLINK', root .. 'event:' .. event)
        call('ZREM', root .. 'events', event)
        events, gone = events + 1, gone + #deliveries
    else
        left = left + 1
    end
end
settle(tonumber(now))
return { 'ok', events, expired, left, more and 1 or 0 }
