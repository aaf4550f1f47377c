-- ARGV: holder, now, most that may wait in a lane, failures in a row that are tolerated, how long (ms) they must have lasted,
-- failures in a row that open a breaker (0: it never opens), the first and the longest pause (ms) before a probe, a notice's id
-- with this time; then for each outcome: position, attempt's number, when it began and ended, the attempt as JSON, what becomes
-- of the delivery ('delivered', 'failed' or the time of the next try), whether the callback is gone for good.
--
-- Answers how many did not count, and the ids of subscriptions that have become inactive, whose breakers have opened, and whose
-- breakers have closed.
local holder, now, max_waiting = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_failures, lasting = tonumber(ARGV[4]), tonumber(ARGV[5])
local opening_failures, first_pause, longest_pause = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local notice_id = ARGV[9]
local ignored, deactivated, opened, closed = 0, {}, {}, {}

-- The positions of events' first deliveries, and the bytes that attempts have taken up.
local firsts, more_bytes = {}, 0

local function first_of(event)
    local first = firsts[event]
    if not first then
        first = first_position(call('HGET', root .. 'event:' .. event, 'head'))
        firsts[event] = first
    end
    return first
end

local function keep_attempt(delivery, number, attempt)
    local key = root .. 'event:' .. delivery.event
    local field = field_of(delivery.position - first_of(delivery.event)) .. '.' .. number
    local is_again = delivery.attempts ~= '0' and tonumber(number) <= tonumber(delivery.attempts)
    local before = is_again and call('HSTRLEN', key, field) or 0
    call('HSET', key, field, attempt)
    more_bytes = more_bytes + #attempt - before + (before == 0 and ATTEMPT_BYTES or 0)
end

local function settle_delivery(delivery, becomes)
    if becomes == 'delivered' then
        let_go(delivery, DELIVERED)
    elseif becomes == 'failed' then
        let_go(delivery, FAILED)
        local member = place(delivery.position)
        call('ZADD', root .. 'failed:' .. delivery.lane, member, member)
    elseif is_deleted(delivery.lane) or is_cancelled(delivery.event) then
        let_go(delivery, CANCELLED)
    else
        let_go(delivery, WAITING)
        wait(delivery, becomes)
    end
end

-- Leaves a notice of a change and of the failures before it; of a deleted subscription nothing is told. Its id ends in its number,
-- so that of one time none is like another.
local function leave_notice(lane, reason, failures, since)
    if is_deleted(lane) then
        return
    end
    local number = struct.pack('>I8', call('HINCRBY', META, 'notice', 1))
    local id = string.sub(notice_id, 1, 9) .. string.sub(number, 2)
    call('HSET', root .. 'notice:' .. id, 'lane', lane, 'reason', reason, 'time', int(now), 'failures', failures,
        'since', since)
    call('ZADD', root .. 'notices', int(now), id)
    call('SADD', root .. 'notices-of:' .. lane, id)
end

-- How long (ms) to wait for the next probe after so many failures in a row; nothing while the breaker stays closed.
local function pause(failures)
    if opening_failures > 0 and failures >= opening_failures then
        local doubled = first_pause * math.min(2 ^ (failures - opening_failures), 2 ^ 32 - 1)
        return math.min(doubled, longest_pause)
    end
end

-- Subscriptions that are known to have no failures: a success tells nothing new of them.
local healthy = {}

local function note_success(lane)
    if healthy[lane] then
        return
    end
    healthy[lane] = true
    local key = root .. 'lane:' .. lane
    local failures, probe, id, since = unpack(call('HMGET', key, 'failures', 'probe', 'id', 'since'))
    if failures or probe then
        call('HDEL', key, 'failures', 'since', 'failed', 'probe', 'probing')
    end
    if probe then
        call('HSET', key, 'recovered', int(now))
        changed(lane)
        touch(lane)
        closed[#closed + 1] = id
        leave_notice(lane, 'recovered', failures or 0, since or '')
    end
end

-- What a failure makes of a subscription, by the rules of `transition.rs`, against which the conformance suite holds these: what
-- fails side by side counts once, and as of its own time, since a retry queue that is drained late must not look like a long
-- outage.
local function note_failure(lane, began, ended, gone)
    healthy[lane] = false
    local key = root .. 'lane:' .. lane
    local id, active, failures, since, failed, probe =
        unpack(call('HMGET', key, 'id', 'active', 'failures', 'since', 'failed', 'probe'))
    local was_open = probe
    failures, since = tonumber(failures or 0), since or began
    if not failed or tonumber(began) >= tonumber(failed) then
        failures = failures + 1
        local wait_for = pause(failures)
        call('HSET', key, 'failures', int(failures), 'since', since, 'failed', ended)
        if wait_for then
            probe = int(tonumber(ended) + wait_for)
            call('HSET', key, 'probe', probe)
            call('HDEL', key, 'probing')
            touch(lane)
        end
    end

    local opens = probe and not was_open
    if opens then
        changed(lane)
        opened[#opened + 1] = id
    end
    local is_beyond = failures > max_failures and math.max(now - tonumber(since), 0) >= lasting
    if active == '1' and (gone or is_beyond) then
        deactivate(lane)
        deactivated[#deactivated + 1] = id
        leave_notice(lane, gone and 'gone' or 'too many', int(failures), since)
    elseif opens then
        leave_notice(lane, 'failing', int(failures), since)
    end
end

local positions = {}
for at = 10, #ARGV, 7 do
    positions[#positions + 1] = tonumber(ARGV[at])
end
read_ahead(positions)
local outcomes = ARGV
for index = 1, #positions do
    local at = 10 + (index - 1) * 7
    local delivery = read_delivery(positions[index])
    if delivery and delivery.state == SENDING and delivery.holder == holder then
        local number, becomes = outcomes[at + 1], outcomes[at + 5]
        keep_attempt(delivery, number, outcomes[at + 4])
        delivery.attempts = number
        settle_delivery(delivery, becomes)
        if becomes == 'delivered' then
            note_success(delivery.lane)
        else
            note_failure(delivery.lane, outcomes[at + 2], outcomes[at + 3], outcomes[at + 6] == '1')
        end
    else
        ignored = ignored + 1
    end
end
if more_bytes ~= 0 then
    call('HINCRBY', META, 'bytes', int(more_bytes))
end
settle(now, max_waiting)
return { 'ok', ignored, deactivated, opened, closed }
