-- What every script shares: the names of the keys, how values are kept, and the few verbs that keep indexes true.
--
-- All names begin with `root`, which the caller passes as KEYS[1]: `{hookcast}:`, whose braces would keep all of them on
-- one node of a cluster. Ids and hashes are raw bytes; times are ms and, as scores, exact; places (positions) are numbers.
--
--   meta                 hash: schema, reader, catalogue (its version), position, incarnation, account, lane (the last ones
--                        given), bytes (about what events and deliveries take up), copying (how far it has come as the target of a copy)
--   account:A            hash: id, user_id, email, token, made       accounts   zset of A by A
--   account-ids, user-ids, tokens   hashes to A
--   lane:L               hash of a subscription: id, account (A), event, url, secret, active, failures, since, made, deleted,
--                        expired
--   lane-ids             hash from its id to L                        lanes-of:A  zset of L by L, the deleted ones left out
--   lanes-once           hash from account, event and URL to L        changes     zset of L by the version of its last change
--   due:L, wait:L        zsets of what waits, by due time and by position; failed:L by position
--   got:L                stream of all of a lane's deliveries, `POSITION-0`: a tenth of a sorted set's memory
--   lanes                zset of the ids of active subscriptions by when the next delivery is due
--   event:E              hash: head, payload, and an attempt in `OFFSET.NUMBER` for each
--   events               zset of E by time
--   deliveries:B         hash of 64 deliveries, small enough that Redis packs it: 100 bytes less for each
--   leases               zset of incarnations by expiry               servers     set of those that are servers
--   held:I               set of the positions that an incarnation holds
--   prints, keys         hashes of fingerprints and idempotency keys; print-ends, key-ends: zsets of all of them by expiry
--   work                 the channel on which it is told that something has become due

local root = KEYS[1]
local call = redis.call
local META = root .. 'meta'

-- The states of a delivery.
local WAITING, SENDING, DELIVERED, FAILED, EXPIRED, CANCELLED = '0', '1', '2', '3', '4', '5'

-- About the bytes that an event, a delivery and an attempt take up beside their texts.
local EVENT_BYTES, DELIVERY_BYTES, ATTEMPT_BYTES = 512, 256, 64

-- So many deliveries of one lane expire at a time where a limit was lowered, so that no script holds up the server.
local EXPIRE_AT_ONCE = 10000

-- Lua would write large numbers with an exponent.
local function int(number)
    return string.format('%.0f', number)
end

-- A position as a member of a sorted set: of equal scores Redis orders the members as texts.
local function place(position)
    return string.format('%014.0f', position)
end

local function slot(position)
    local bucket = math.floor(position / 64)
    return root .. 'deliveries:' .. int(bucket), int(position - bucket * 64)
end

local function pack(delivery)
    return table.concat({ delivery.event .. delivery.state, delivery.lane, delivery.attempts, delivery.holder }, ' ')
end

local function read_delivery(position)
    local packed = call('HGET', slot(position))
    if not packed then
        return nil
    end
    local state, lane, attempts, holder = string.match(packed, '^(%d) (%d+) (%d+) (%d+)$', 17)
    return {
        position = position,
        event = string.sub(packed, 1, 16),
        state = state,
        lane = lane,
        attempts = attempts,
        holder = holder,
    }
end

local function write_delivery(delivery)
    local key, field = slot(delivery.position)
    call('HSET', key, field, pack(delivery))
end

-- md5 (16 bytes), then time, first position, number of deliveries, type.
local function read_head(head)
    local time, first, count, name = string.match(head, '^(-?%d+) (%d+) (%d+) (.+)$', 17)
    return { time = time, first = tonumber(first), count = tonumber(count), name = name }
end

local function is_alive(holder, now)
    local ends = call('ZSCORE', root .. 'leases', holder)
    return ends and tonumber(ends) > now
end

local function is_deleted(lane)
    return call('HEXISTS', root .. 'lane:' .. lane, 'deleted') == 1
end

-- Other processes must see this subscription's change.
local function changed(lane)
    call('ZADD', root .. 'changes', int(call('HINCRBY', META, 'catalogue', 1)), lane)
end

-- Lanes that this script has touched, and the most that may wait in each.
local touched = {}

-- Adds a delivery to what waits in its lane; `settle` must follow.
local function wait(delivery, due)
    local member = place(delivery.position)
    call('ZADD', root .. 'due:' .. delivery.lane, due, member)
    call('ZADD', root .. 'wait:' .. delivery.lane, member, member)
    touched[delivery.lane] = true
end

-- Takes a delivery out of what waits in its lane; `settle` must follow.
local function take(delivery)
    local member = place(delivery.position)
    call('ZREM', root .. 'due:' .. delivery.lane, member)
    call('ZREM', root .. 'wait:' .. delivery.lane, member)
    touched[delivery.lane] = true
end

local function expire_oldest(lane, count)
    local oldest = call('ZRANGE', root .. 'wait:' .. lane, 0, count - 1)
    for _, member in ipairs(oldest) do
        local delivery = read_delivery(tonumber(member))
        delivery.state = EXPIRED
        write_delivery(delivery)
        take(delivery)
    end
    call('HINCRBY', root .. 'lane:' .. lane, 'expired', #oldest)
end

-- Makes true what is known of the touched lanes: lets the oldest expire where more wait than may, and notes when the next is
-- due. Tells whoever listens if something has become due where nothing was.
local function settle(now, max_waiting)
    local work = false
    for lane in pairs(touched) do
        if max_waiting then
            local excess = call('ZCARD', root .. 'wait:' .. lane) - max_waiting
            if excess > 0 then
                expire_oldest(lane, math.min(excess, EXPIRE_AT_ONCE))
            end
        end
        local id, active = unpack(call('HMGET', root .. 'lane:' .. lane, 'id', 'active'))
        local next = call('ZRANGE', root .. 'due:' .. lane, 0, 0, 'WITHSCORES')[2]
        if next and active == '1' then
            local before = call('ZSCORE', root .. 'lanes', id)
            call('ZADD', root .. 'lanes', next, id)
            work = work or tonumber(next) <= now and (not before or tonumber(before) > now)
        else
            call('ZREM', root .. 'lanes', id)
        end
    end
    touched = {}
    if work then
        -- Only a hint: a user who may not publish must not fail for it.
        redis.pcall('PUBLISH', root .. 'work', '')
    end
end

local function hold(delivery, holder)
    delivery.state, delivery.holder = SENDING, holder
    write_delivery(delivery)
    call('SADD', root .. 'held:' .. holder, int(delivery.position))
end

-- The delivery is no longer held, and is of this state now.
local function let_go(delivery, state)
    call('SREM', root .. 'held:' .. delivery.holder, int(delivery.position))
    delivery.state, delivery.holder = state, '0'
    write_delivery(delivery)
end

-- Makes a held delivery due at once; that of a deleted subscription is cancelled. Answers whether it is due.
local function give_back(delivery, now)
    if is_deleted(delivery.lane) then
        let_go(delivery, CANCELLED)
        return false
    end
    let_go(delivery, WAITING)
    wait(delivery, now)
    return true
end

-- Ends a lease; answers how many deliveries are due again. What one process holds is bounded by its memory.
local function end_lease(holder, now)
    call('ZREM', root .. 'leases', holder)
    call('SREM', root .. 'servers', holder)
    local due_again = 0
    for _, position in ipairs(call('SMEMBERS', root .. 'held:' .. holder)) do
        if give_back(read_delivery(tonumber(position)), now) then
            due_again = due_again + 1
        end
    end
    return due_again
end

-- Makes a subscription inactive; what waits for it stays as it is.
local function deactivate(lane)
    call('HSET', root .. 'lane:' .. lane, 'active', '0')
    changed(lane)
    touched[lane] = true
end

local function account_row(account)
    return call('HMGET', root .. 'account:' .. account, 'id', 'user_id', 'email', 'made')
end

-- A subscription and what waits for it.
local function status(lane)
    local row = call('HMGET', root .. 'lane:' .. lane, 'id', 'account', 'event', 'url', 'secret', 'active', 'failures',
        'since', 'made', 'expired')
    local account = account_row(row[2])
    local waiting = call('ZCARD', root .. 'wait:' .. lane)
    return { row[1], account[1], account[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], waiting, row[10] }
end

-- The lane of an account's own subscription that is not deleted.
local function own_lane(account_id, id)
    local account = call('HGET', root .. 'account-ids', account_id)
    local lane = call('HGET', root .. 'lane-ids', id)
    if account and lane and call('HGET', root .. 'lane:' .. lane, 'account') == account and not is_deleted(lane) then
        return lane
    end
    return nil
end

-- A delivery as people read it. What waited when its subscription was deleted reads as cancelled, so that deleting one costs
-- the same however much waits.
local function record(delivery)
    local id, account, url, active = unpack(call('HMGET', root .. 'lane:' .. delivery.lane, 'id', 'account', 'url', 'active'))
    local head = read_head(call('HGET', root .. 'event:' .. delivery.event, 'head'))
    local state, due = delivery.state, false
    if state == WAITING then
        due = call('ZSCORE', root .. 'due:' .. delivery.lane, place(delivery.position))
        state = due and WAITING or CANCELLED
    end
    local row = { int(delivery.position), head.time, delivery.event, head.name, id,
        call('HGET', root .. 'account:' .. account, 'user_id'), url, active, state, due }
    for number = 1, tonumber(delivery.attempts) do
        local field = int(delivery.position - head.first) .. '.' .. int(number)
        row[#row + 1] = call('HGET', root .. 'event:' .. delivery.event, field)
    end
    return row
end
