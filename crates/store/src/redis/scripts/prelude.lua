-- What every script shares: the names of the keys, how values are kept, and the few verbs that keep indexes true.
--
-- All names begin with `root`, which the caller passes as KEYS[1]: `{hookcast}:`, whose braces would keep all of them on
-- one node of a cluster. Ids and hashes are raw bytes; times are ms and, as scores, exact; places (positions) are numbers.
--
--   meta                 hash: schema, reader, catalogue (its version), position, incarnation, account, lane, notice (the last
--                        ones given), bytes (about what events and deliveries take up), copying (how far it has come as the
--                        target of a copy)
--   account:A            hash: id, user_id, email, made, deleted     accounts   zset of A by A, the deleted ones left out
--   account-ids          hash to A                                   user-ids   hash to A
--   tokens               hash from a token's hash to `A NAME`
--   tokens-of:A          hash from a token's name to its hash (32 bytes), scope, time of making and, if it has one, of its end
--   lane:L               hash of a subscription: id, account (A), event, url, options, secret, active, made, deleted, expired,
--                        and its health: failures, since, failed, probe, recovered;
--                        probing, the position of the delivery that was claimed as a probe, while it is what `probe` waits for
--   lane-ids             hash from its id to L                        lanes-of:A  zset of L by L, the deleted ones left out
--   lanes-once           hash from account, event and URL to L        changes     zset of L by the version of its last change
--   due:L, wait:L        zsets of what waits, by due time and by position, where those behind the head of a group are not in
--                        the first one; failed:L by position
--   order:L              zset of what has not ended and has a group, `GROUP:SEQUENCE:POSITION`, in that order
--   got:L                stream of all of a lane's deliveries, `POSITION-0`: a tenth of a sorted set's memory
--   lanes                zset of the ids of active subscriptions by when the next delivery is due, which is not before `probe`
--   event:E              hash: head, payload, key, extra (JSON), source, at (it is not due before), and an attempt in
--                        `OFFSET.NUMBER` for each
--   source:S             set of E whose source is S
--   events               zset of E by time
--   deliveries:B         hash of 64 deliveries, small enough that Redis packs it: 100 bytes less for each
--   leases               zset of incarnations by expiry               servers     set of those that are servers
--   nodes                hash from those that send to their nodes
--   held:I               set of the positions that an incarnation holds
--   prints, keys         hashes of fingerprints and idempotency keys; print-ends, key-ends: zsets of all of them by expiry
--   notice:N             hash: lane (L), reason, time, failures, since, begun (its mail is)
--   notices              zset of N by when it is to be given          notices-of:L  set of N
--   documents:KIND       hash from a document's name to `VERSION BODY`
--   document-names:KIND  zset of the names, all of score 0            document-versions  hash from a kind to its version
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

-- The server's own Lua turns numbers into texts slowly, and large ones into such with an exponent. On a machine of 32 bits `%d` would cut off
-- what is larger.
local INTEGER = string.format('%d', 2 ^ 40) == '1099511627776' and 'd' or '.0f'
local INT, PLACE = '%' .. INTEGER, '%014' .. INTEGER
local format = string.format

local function int(number)
    return format(INT, number)
end

-- The texts of small numbers, of which most fields are.
local small = {}

local function field_of(number)
    local text = small[number]
    if not text then
        text = int(number)
        small[number] = text
    end
    return text
end

-- A position as a member of a sorted set: of equal scores Redis orders the members as texts.
local function place(position)
    return format(PLACE, position)
end

-- The keys of the hashes of deliveries, by their numbers.
local buckets = {}

local function slot(position)
    local number = position % 64
    local bucket = (position - number) / 64
    local key = buckets[bucket]
    if not key then
        key = root .. 'deliveries:' .. int(bucket)
        buckets[bucket] = key
    end
    return key, field_of(number)
end

local function pack_plain(event, state, lane, attempts, holder)
    return event .. state .. ' ' .. lane .. ' ' .. attempts .. ' ' .. holder
end

-- The group is left out where there is none, the sequence where it is the position.
local function pack(delivery)
    local packed = pack_plain(delivery.event, delivery.state, delivery.lane, delivery.attempts, delivery.holder)
    if not delivery.group then
        return packed
    elseif delivery.sequence == delivery.position then
        return packed .. ' ' .. delivery.group
    end
    return packed .. ' ' .. delivery.group .. ' ' .. int(delivery.sequence)
end

-- What has been written of deliveries, and whether a holder holds one now, both by position: `settle` tells the server, so that
-- many of one key are one command.
local unwritten, held = {}, {}

-- What has been read ahead of deliveries, by position.
local ahead = {}

local function read_delivery(position)
    local packed = unwritten[position] or ahead[position] or call('HGET', slot(position))
    if not packed then
        return nil
    end
    local state, lane, attempts, holder, group, sequence =
        string.match(packed, '^(%d) (%d+) (%d+) (%d+) ?(%-?%d*) ?(%d*)$', 17)
    if group == '' then
        group = nil
    end
    return {
        position = position,
        event = string.sub(packed, 1, 16),
        state = state,
        lane = lane,
        attempts = attempts,
        holder = holder,
        group = group,
        sequence = group and (tonumber(sequence) or position),
    }
end

-- Calls a command with all of many values, so many at once as Lua can pass.
local VALUES = 1000

local function call_with_all(command, key, values)
    for from = 1, #values, VALUES do
        call(command, key, unpack(values, from, math.min(from + VALUES - 1, #values)))
    end
end

-- Reads many deliveries at once, before anything of them is written: those of one key with one command.
local function read_ahead(positions)
    local fields_of, positions_of = {}, {}
    for index = 1, #positions do
        local position = positions[index]
        local key, field = slot(position)
        local fields = fields_of[key]
        if not fields then
            fields = {}
            fields_of[key], positions_of[key] = fields, {}
        end
        fields[#fields + 1] = field
        positions_of[key][#fields] = position
    end
    for key, fields in pairs(fields_of) do
        for from = 1, #fields, VALUES do
            local values = call('HMGET', key, unpack(fields, from, math.min(from + VALUES - 1, #fields)))
            local places = positions_of[key]
            for index = 1, #values do
                ahead[places[from + index - 1]] = values[index]
            end
        end
    end
end

-- `settle` must follow.
local function write_delivery(delivery)
    unwritten[delivery.position] = pack(delivery)
end

-- `settle` must follow.
local function note_holder(holder, position, is_held)
    local positions = held[holder]
    if not positions then
        positions = {}
        held[holder] = positions
    end
    positions[position] = is_held
end

local function write_all()
    local values_of = {}
    for position, packed in pairs(unwritten) do
        local key, field = slot(position)
        local values = values_of[key]
        if not values then
            values = {}
            values_of[key] = values
        end
        local count = #values
        values[count + 1], values[count + 2] = field, packed
    end
    for key, values in pairs(values_of) do
        call_with_all('HSET', key, values)
    end
    for holder, positions in pairs(held) do
        local taken, left = {}, {}
        for position, is_held in pairs(positions) do
            local list = is_held and taken or left
            list[#list + 1] = int(position)
        end
        call_with_all('SADD', root .. 'held:' .. holder, taken)
        call_with_all('SREM', root .. 'held:' .. holder, left)
    end
    unwritten, held, ahead = {}, {}, {}
end

-- md5 (16 bytes), then time, first position, number of deliveries, type.
local function read_head(head)
    local time, first, count, name = string.match(head, '^(-?%d+) (%d+) (%d+) (.+)$', 17)
    return { time = time, first = tonumber(first), count = tonumber(count), name = name }
end

-- Of those only the first position.
local function first_position(head)
    return tonumber(string.match(head, '^-?%d+ (%d+)', 17))
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

-- Lanes that this script has touched, each with those of its groups that may have another head than before.
local touched = {}

-- `settle` must follow.
local function touch(lane, group)
    touched[lane] = touched[lane] or {}
    if group then
        touched[lane][group] = true
    end
end

-- When deliveries with a group are due if they turn out to be heads, where that is not at their events' times.
local due_as_head = {}

-- Adds a delivery to what waits in its lane, without a due time if it waits for others; `settle` must follow.
local function queue(delivery, due)
    local member = place(delivery.position)
    call('ZADD', root .. 'wait:' .. delivery.lane, member, member)
    if due then
        call('ZADD', root .. 'due:' .. delivery.lane, due, member)
    end
    touch(delivery.lane)
end

-- Lets a delivery wait until it is due, which one with a group is as its head only; `settle` must follow.
local function wait(delivery, due)
    if delivery.group then
        due_as_head[delivery.position] = due
        queue(delivery)
        touch(delivery.lane, delivery.group)
    else
        queue(delivery, due)
    end
end

-- Takes a delivery out of what waits in its lane; `settle` must follow.
local function take(delivery)
    local member = place(delivery.position)
    call('ZREM', root .. 'due:' .. delivery.lane, member)
    call('ZREM', root .. 'wait:' .. delivery.lane, member)
    touch(delivery.lane)
end

-- A delivery's place in the order of its lane. Members of one score are sorted as texts.
local function rank(delivery)
    return delivery.group .. ':' .. place(delivery.sequence) .. ':' .. place(delivery.position)
end

-- The positions of those of a group that have not ended and are from a place in its order on, the first ones first.
local function in_order_from(lane, group, from, limit)
    local positions = {}
    for _, member in ipairs(call('ZRANGEBYLEX', root .. 'order:' .. lane, from, '(' .. group .. ';', 'LIMIT', 0, limit)) do
        positions[#positions + 1] = tonumber(string.match(member, '%d+$'))
    end
    return positions
end

-- The same from the beginning, or behind a delivery, if one is given.
local function in_order(lane, group, limit, delivery)
    return in_order_from(lane, group, delivery and '(' .. rank(delivery) or '[' .. group .. ':', limit)
end

-- The same behind a number in the group's order.
local function behind(lane, group, sequence, limit)
    return in_order_from(lane, group, '(' .. group .. ':' .. place(sequence) .. ';', limit)
end

local function join_group(delivery)
    call('ZADD', root .. 'order:' .. delivery.lane, 0, rank(delivery))
end

-- What has ended keeps nobody waiting; `settle` must follow.
local function leave_group(delivery)
    if delivery.group then
        call('ZREM', root .. 'order:' .. delivery.lane, rank(delivery))
        touch(delivery.lane, delivery.group)
        delivery.group = nil
    end
end

-- Before this time (ms) an event's deliveries are not due, if it is scheduled.
local function scheduled(event)
    return tonumber(call('HGET', root .. 'event:' .. event, 'at') or nil)
end

local function due_time(event)
    local time = read_head(call('HGET', root .. 'event:' .. event, 'head')).time
    return int(math.max(tonumber(time), scheduled(event) or 0))
end

-- An event without its deliveries as it is answered: head, payload, key, extra.
local function event_row(event)
    local row = call('HMGET', root .. 'event:' .. event, 'head', 'payload', 'key', 'extra')
    row[3], row[4] = row[3] or '', row[4] or ''
    return row
end

-- Keeps an event without its deliveries: head, payload, key, extra, source, at (each of the last four empty: none).
local function put_event(event, head, payload, key, extra, source, at)
    local hash = root .. 'event:' .. event
    call('HSET', hash, 'head', head, 'payload', payload)
    if key ~= '' then
        call('HSET', hash, 'key', key)
    end
    if extra ~= '' then
        call('HSET', hash, 'extra', extra)
    end
    if at ~= '' then
        call('HSET', hash, 'at', at)
    end
    if source ~= '' then
        call('HSET', hash, 'source', source)
        call('SADD', root .. 'source:' .. source, event)
    end
end

-- Makes the head of a group due, unless it is held or due already.
local function promote_head(lane, group)
    local position = in_order(lane, group, 1)[1]
    local head = position and read_delivery(position)
    if not head or head.state ~= WAITING then
        return
    end
    local due, member = root .. 'due:' .. lane, place(position)
    if not call('ZSCORE', due, member) then
        local time = due_as_head[position] or due_time(head.event)
        call('ZADD', due, time, member)
    end
end

local function expire_oldest(lane, count)
    local oldest = call('ZRANGE', root .. 'wait:' .. lane, 0, count - 1)
    for _, member in ipairs(oldest) do
        local delivery = read_delivery(tonumber(member))
        delivery.state = EXPIRED
        take(delivery)
        leave_group(delivery)
        write_delivery(delivery)
    end
    call('HINCRBY', root .. 'lane:' .. lane, 'expired', #oldest)
end

-- Writes what has not been written, and makes true what is known of the touched lanes: lets the oldest expire where more wait than may, makes the heads of groups due,
-- and notes when the next is due. Tells whoever listens if something has become due where nothing was.
local function settle(now, max_waiting)
    local work = false
    for lane, groups in pairs(touched) do
        if max_waiting then
            local excess = call('ZCARD', root .. 'wait:' .. lane) - max_waiting
            if excess > 0 then
                expire_oldest(lane, math.min(excess, EXPIRE_AT_ONCE))
            end
        end
        for group in pairs(groups) do
            promote_head(lane, group)
        end
        local id, active, probe = unpack(call('HMGET', root .. 'lane:' .. lane, 'id', 'active', 'probe'))
        local next = call('ZRANGE', root .. 'due:' .. lane, 0, 0, 'WITHSCORES')[2]
        if next and active == '1' then
            if probe and tonumber(probe) > tonumber(next) then
                next = probe
            end
            local before = call('ZSCORE', root .. 'lanes', id)
            call('ZADD', root .. 'lanes', next, id)
            work = work or tonumber(next) <= now and (not before or tonumber(before) > now)
        else
            call('ZREM', root .. 'lanes', id)
        end
    end
    touched = {}
    write_all()
    if work then
        -- Only a hint: a user who may not publish must not fail for it.
        redis.pcall('PUBLISH', root .. 'work', '')
    end
end

-- `settle` must follow, as it must after the next two.
local function hold(delivery, holder)
    if delivery.state == SENDING then
        note_holder(delivery.holder, delivery.position, false)
    end
    delivery.state, delivery.holder = SENDING, holder
    write_delivery(delivery)
    note_holder(holder, delivery.position, true)
end

-- The same for a new delivery that has no group.
local function hold_new(position, event, lane, holder)
    unwritten[position] = pack_plain(event, SENDING, lane, '0', holder)
    note_holder(holder, position, true)
end

-- The delivery is no longer held, and is of this state now.
local function let_go(delivery, state)
    note_holder(delivery.holder, delivery.position, false)
    delivery.state, delivery.holder = state, '0'
    if state ~= WAITING then
        leave_group(delivery)
    end
    write_delivery(delivery)
end

-- Whether an event is to go no more to those that have not got it.
local function is_cancelled(event)
    local extra = call('HGET', root .. 'event:' .. event, 'extra')
    return extra and extra ~= '' and cjson.decode(extra).cancelled_at ~= nil
end

-- Makes a held delivery due at once, or as soon as those before it have ended; that of a deleted subscription, or of a cancelled
-- event, is cancelled. Answers whether it waits.
local function give_back(delivery, now)
    local key = root .. 'lane:' .. delivery.lane
    local deleted, probe, probing = unpack(call('HMGET', key, 'deleted', 'probe', 'probing'))
    if deleted then
        let_go(delivery, CANCELLED)
        return false
    end
    if probing and tonumber(probing) == delivery.position then
        -- The one that was to find out was not sent.
        call('HDEL', key, 'probing')
        call('HSET', key, 'probe', int(math.min(tonumber(probe), tonumber(now))))
    end
    if is_cancelled(delivery.event) then
        touch(delivery.lane)
        let_go(delivery, CANCELLED)
        return false
    end
    let_go(delivery, WAITING)
    wait(delivery, not delivery.group and now or nil)
    return true
end

-- Ends a lease; answers how many deliveries are due again. What one process holds is bounded by its memory.
local function end_lease(holder, now)
    call('ZREM', root .. 'leases', holder)
    call('SREM', root .. 'servers', holder)
    call('HDEL', root .. 'nodes', holder)
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
    touch(lane)
end

local function forget_notice(id)
    call('DEL', root .. 'notice:' .. id)
    call('ZREM', root .. 'notices', id)
end

-- Deletes a subscription; `settle` must follow. What waits is dropped from the indexes at once, in the server's background, and
-- by that is cancelled.
local function delete_lane(lane, now)
    local key = root .. 'lane:' .. lane
    local account, event, url = unpack(call('HMGET', key, 'account', 'event', 'url'))
    call('HSET', key, 'deleted', now, 'active', '0', 'secret', '')
    call('HDEL', root .. 'lanes-once', account .. ' ' .. event .. ' ' .. url)
    call('ZREM', root .. 'lanes-of:' .. account, lane)
    call('UNLINK', root .. 'due:' .. lane, root .. 'wait:' .. lane, root .. 'order:' .. lane)
    for _, notice in ipairs(call('SMEMBERS', root .. 'notices-of:' .. lane)) do
        forget_notice(notice)
    end
    call('DEL', root .. 'notices-of:' .. lane)
    changed(lane)
    touch(lane)
end

local function account_row(account)
    return call('HMGET', root .. 'account:' .. account, 'id', 'user_id', 'email', 'made')
end

-- The account of an id, unless it is deleted.
local function living_account(id)
    local account = call('HGET', root .. 'account-ids', id)
    return account and call('HEXISTS', root .. 'account:' .. account, 'deleted') == 0 and account or nil
end

local function token_hash(packed)
    return string.sub(packed, 1, 32)
end

-- A token as it is answered: name, scope, time of making, of its end.
local function token_row(name, packed)
    local scope, made, ends = string.match(packed, '^(%l+) (-?%d+) ?(-?%d*)$', 33)
    return { name, scope, made, ends }
end

-- Writes a token of an account; what it had of this name must be gone.
local function put_token(account, name, hash, scope, made, ends)
    local packed = hash .. scope .. ' ' .. made .. (ends ~= '' and ' ' .. ends or '')
    call('HSET', root .. 'tokens', hash, account .. ' ' .. name)
    call('HSET', root .. 'tokens-of:' .. account, name, packed)
end

local function document_version(kept)
    return string.match(kept, '^%d+')
end

-- A document as it is answered: name, version, body.
local function document_row(name, kept)
    local version = document_version(kept)
    return { name, version, string.sub(kept, #version + 2) }
end

-- The refusal of a change of a document where there is not what is expected: `any`, `none`, or a version.
local function unexpected_document(kind, name, expected)
    local kept = call('HGET', root .. 'documents:' .. kind, name)
    if expected ~= 'any' and expected ~= (kept and document_version(kept) or 'none') then
        return 'conflict'
    end
end

local function put_document(kind, name, body)
    local version = int(call('HINCRBY', root .. 'document-versions', kind, 1))
    call('HSET', root .. 'documents:' .. kind, name, version .. ' ' .. body)
    call('ZADD', root .. 'document-names:' .. kind, 0, name)
    return version
end

-- A subscription and what waits for it.
local function status(lane)
    local row = call('HMGET', root .. 'lane:' .. lane, 'id', 'account', 'event', 'url', 'options', 'secret', 'active', 'made',
        'failures', 'since', 'failed', 'probe', 'recovered', 'expired')
    local account = account_row(row[2])
    row[2], row[15] = account[1], account[2]
    row[16], row[17] = call('ZSCORE', root .. 'changes', lane), call('ZCARD', root .. 'wait:' .. lane)
    return row
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
    local id, account, url, active, deleted, probe =
        unpack(call('HMGET', root .. 'lane:' .. delivery.lane, 'id', 'account', 'url', 'active', 'deleted', 'probe'))
    local head = read_head(call('HGET', root .. 'event:' .. delivery.event, 'head'))
    local state, due = delivery.state, false
    if state == WAITING and deleted then
        state = CANCELLED
    elseif state == WAITING then
        due = call('ZSCORE', root .. 'due:' .. delivery.lane, place(delivery.position))
    end
    local row = { int(delivery.position), head.time, delivery.event, head.name, id,
        call('HGET', root .. 'account:' .. account, 'user_id'), url, active, state, due, state == WAITING and probe }
    for number = 1, tonumber(delivery.attempts) do
        local field = int(delivery.position - head.first) .. '.' .. int(number)
        row[#row + 1] = call('HGET', root .. 'event:' .. delivery.event, field)
    end
    return row
end
