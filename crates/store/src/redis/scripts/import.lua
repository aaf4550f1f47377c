-- ARGV: how far the copy has come, section, and for each item as many values as its section has. Everything is checked before
-- anything is written; what is there already stays as it is.
local progress, section = ARGV[1], ARGV[2]
local sections, items = {}, {}

local function exists(index, member)
    return call('HEXISTS', root .. index, member) == 1
end

-- What the items before this one take.
local taken = {}

local function is_free(index, member)
    local name = index .. ' ' .. member
    if taken[name] or exists(index, member) then
        return false
    end
    taken[name] = true
    return true
end

-- ID, user_id, time of making, whether there is an e-mail address, the address, time of deletion (empty: none).
sections.accounts = { values = 6 }

function sections.accounts.check(item)
    item.is_there = exists('account-ids', item[1])
    if not item.is_there and not is_free('user-ids', item[2]) then
        return 'conflict'
    end
end

function sections.accounts.store(item)
    local account = int(call('HINCRBY', META, 'account', 1))
    local key = root .. 'account:' .. account
    call('HSET', key, 'id', item[1], 'user_id', item[2], 'made', item[3])
    if item[4] == '1' then
        call('HSET', key, 'email', item[5])
    end
    call('HSET', root .. 'account-ids', item[1], account)
    call('HSET', root .. 'user-ids', item[2], account)
    if item[6] == '' then
        call('ZADD', root .. 'accounts', account, account)
    else
        call('HSET', key, 'deleted', item[6])
    end
end

-- Account's id, name, hash, scope, time of making, of the end (empty: none).
sections.tokens = { values = 6 }

function sections.tokens.check(item)
    item.account = call('HGET', root .. 'account-ids', item[1])
    if not item.account then
        return 'orphan'
    end
    item.is_there = call('HGET', root .. 'tokens', item[3]) == item.account .. ' ' .. item[2]
    if not item.is_there and not (is_free('tokens', item[3]) and is_free('tokens-of:' .. item.account, item[2])) then
        return 'conflict'
    end
end

function sections.tokens.store(item)
    put_token(item.account, unpack(item, 2, 6))
end

-- ID, account's id, event types, URL, secrets, whether it is active, failures, since when, time of making, of deletion, expired,
-- options, when the last failure ended, time of the next probe, of the breaker's last closing.
sections.subscriptions = { values = 15 }

function sections.subscriptions.check(item)
    item.is_there = exists('lane-ids', item[1])
    item.account = call('HGET', root .. 'account-ids', item[2])
    if not item.account then
        return 'orphan'
    end
    item.once = item.account .. ' ' .. item[3] .. ' ' .. item[4]
    if not item.is_there and item[10] == '' and not is_free('lanes-once', item.once) then
        return 'conflict'
    end
end

function sections.subscriptions.store(item)
    local lane = int(call('HINCRBY', META, 'lane', 1))
    local key = root .. 'lane:' .. lane
    call('HSET', key, 'id', item[1], 'account', item.account, 'event', item[3], 'url', item[4], 'secret', item[5],
        'active', item[6], 'failures', item[7], 'made', item[9], 'expired', item[11], 'options', item[12])
    for value, field in pairs({ [8] = 'since', [13] = 'failed', [14] = 'probe', [15] = 'recovered' }) do
        if item[value] ~= '' then
            call('HSET', key, field, item[value])
        end
    end
    call('HSET', root .. 'lane-ids', item[1], lane)
    if item[10] == '' then
        call('HSET', root .. 'lanes-once', item.once, lane)
        call('ZADD', root .. 'lanes-of:' .. item.account, lane, lane)
    else
        call('HSET', key, 'deleted', item[10])
    end
    changed(lane)
end

-- ID, type, time, md5, payload, first position, number of deliveries, key, extra, source, at (each of the last four empty: none).
sections.events = { values = 11 }

function sections.events.check(item)
    item.is_there = call('EXISTS', root .. 'event:' .. item[1]) == 1
end

-- New deliveries get positions, and by them places in their groups' order, that are larger than this.
local function go_on_after(position)
    if position > tonumber(call('HGET', META, 'position') or 0) then
        call('HSET', META, 'position', int(position))
    end
end

function sections.events.store(item)
    local head = item[4] .. table.concat({ item[3], item[6], item[7], item[2] }, ' ')
    put_event(item[1], head, item[5], unpack(item, 8, 11))
    call('ZADD', root .. 'events', item[3], item[1])
    local count = tonumber(item[7])
    local last = tonumber(item[6]) + count - 1
    go_on_after(last)
    call('HINCRBY', META, 'bytes', int(EVENT_BYTES + #item[5] + DELIVERY_BYTES * count))
end

-- Position, event's id, subscription's id, state, due time, a line for each attempt: its number and its JSON; group (empty: none)
-- and its place in the group's order.
sections.deliveries = { values = 8 }

-- For each lane the last position in its list, which only grows.
local last_in_lane = {}

local function last_of(lane)
    if not last_in_lane[lane] then
        local newest = call('XREVRANGE', root .. 'got:' .. lane, '+', '-', 'COUNT', 1)[1]
        last_in_lane[lane] = newest and tonumber(string.match(newest[1], '^%d+')) or 0
    end
    return last_in_lane[lane]
end

function sections.deliveries.check(item)
    local position = tonumber(item[1])
    local head = call('HGET', root .. 'event:' .. item[2], 'head')
    item.lane = call('HGET', root .. 'lane-ids', item[3])
    if not head or not item.lane then
        return 'orphan'
    end
    item.offset = position - read_head(head).first
    local there = read_delivery(position)
    item.is_there = there and there.event == item[2] and there.lane == item.lane
    if not item.is_there then
        if there or item.offset < 0 or item.offset >= read_head(head).count or position <= last_of(item.lane) then
            return 'conflict'
        end
        last_in_lane[item.lane] = position
    end
end

function sections.deliveries.store(item)
    local delivery = {
        position = tonumber(item[1]), event = item[2], lane = item.lane, state = item[4], attempts = '0', holder = '0',
    }
    for number, attempt in string.gmatch(item[6], '(%d+) ([^\n]+)') do
        delivery.attempts = number
        call('HSET', root .. 'event:' .. item[2], int(item.offset) .. '.' .. number, attempt)
        call('HINCRBY', META, 'bytes', #attempt + ATTEMPT_BYTES)
    end
    if delivery.state == WAITING and item[7] ~= '' then
        delivery.group, delivery.sequence = item[7], tonumber(item[8])
        join_group(delivery)
        go_on_after(delivery.sequence)
    end
    write_delivery(delivery)
    call('XADD', root .. 'got:' .. item.lane, item[1] .. '-0', 'd', '')
    if delivery.state == WAITING then
        queue(delivery, item[5] ~= '' and item[5])
    elseif delivery.state == FAILED then
        local member = place(delivery.position)
        call('ZADD', root .. 'failed:' .. item.lane, member, member)
    end
end

-- Md5, event's id, time of the first, expiry.
sections.fingerprints = { values = 4 }

function sections.fingerprints.check(item)
    item.is_there = not is_free('prints', item[1])
end

function sections.fingerprints.store(item)
    call('HSET', root .. 'prints', item[1], item[2] .. item[3])
    call('ZADD', root .. 'print-ends', item[4] == '' and '+inf' or item[4], item[1])
end

-- Key, the body's digest, expiry, a line for each receipt.
sections.keys = { values = 4 }

function sections.keys.check(item)
    item.is_there = not is_free('keys', item[1])
end

function sections.keys.store(item)
    local answer = { item[3] }
    for receipt in string.gmatch(item[4], '[^\n]+') do
        answer[#answer + 1] = receipt
        answer[#answer + 1] = ''
        answer[#answer + 1] = ''
    end
    call('HSET', root .. 'keys', item[1], item[2] .. cmsgpack.pack(answer))
    call('ZADD', root .. 'key-ends', item[3], item[1])
end

-- ID, subscription's id, reason, time, failures, since when (empty: none), when it is to be given, whether its mail is begun.
sections.notices = { values = 8 }

function sections.notices.check(item)
    item.is_there = call('EXISTS', root .. 'notice:' .. item[1]) == 1
    item.lane = call('HGET', root .. 'lane-ids', item[2])
    if not item.lane then
        return 'orphan'
    end
end

function sections.notices.store(item)
    local key = root .. 'notice:' .. item[1]
    call('HSET', key, 'lane', item.lane, 'reason', item[3], 'time', item[4], 'failures', item[5], 'since', item[6])
    if item[8] == '1' then
        call('HSET', key, 'begun', 1)
    end
    call('ZADD', root .. 'notices', item[7], item[1])
    call('SADD', root .. 'notices-of:' .. item.lane, item[1])
end

-- Kind, name, body.
sections.documents = { values = 3 }

function sections.documents.check(item)
    item.is_there = exists('documents:' .. item[1], item[2])
end

function sections.documents.store(item)
    put_document(item[1], item[2], item[3])
end

local kind = sections[section]
for at = 3, #ARGV, kind and kind.values or 1 do
    local item = {}
    for value = 1, kind.values do
        item[value] = ARGV[at + value - 1]
    end
    local refusal = kind.check(item)
    if refusal then
        return { refusal }
    end
    items[#items + 1] = item
end
for _, item in ipairs(items) do
    if not item.is_there then
        kind.store(item)
    end
end
call('HSET', META, 'copying', progress)
settle(0)
return { 'ok' }
