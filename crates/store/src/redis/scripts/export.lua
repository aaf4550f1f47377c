-- ARGV: section, limit, most bytes, the place to begin after (empty: the beginning), its score where members of one score follow
-- each other. Answers whether there may be more, the position looked at last (of deliveries), and the rows.
local section, limit, max_bytes, after, score = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local answer, bytes = { 'ok', 0, '' }, 0

-- Of deliveries that are gone there may be very many in a row.
local LOOK_AT = 1000

local function add(row, size)
    answer[#answer + 1] = row
    bytes = bytes + size
end

local function is_full()
    return #answer - 3 >= limit or bytes >= max_bytes
end

-- The members of a sorted set behind a place, with their scores. Where the place itself is gone, so is all before it.
local function members(index)
    local rank = 0
    if after ~= '' then
        rank = call('ZRANK', index, after)
        rank = rank and rank + 1 or call('ZCOUNT', index, '-inf', '(' .. score)
    end
    return call('ZRANGE', index, rank, rank + limit - 1, 'WITHSCORES')
end

local function each(index, read)
    local found = members(index)
    for at = 1, #found, 2 do
        if is_full() then
            break
        end
        read(found[at], found[at + 1])
    end
    answer[2] = is_full() and 1 or 0
end

local sections = {}

function sections.accounts()
    for account = tonumber(after == '' and '0' or after) + 1, tonumber(call('HGET', META, 'account') or 0) do
        local name = int(account)
        add({ name, account_row(name), call('HGET', root .. 'account:' .. name, 'deleted') }, 0)
        if is_full() then
            answer[2] = 1
            return
        end
    end
end

-- A place is an account, and as its score the name of one of its tokens. No account is without any but the deleted ones.
function sections.tokens()
    local from = after == '' and '-inf' or after
    for _, account in ipairs(call('ZRANGEBYSCORE', root .. 'accounts', from, '+inf', 'LIMIT', 0, limit + 1)) do
        local key, id = root .. 'tokens-of:' .. account, account_row(account)[1]
        local names = call('HKEYS', key)
        table.sort(names)
        for _, name in ipairs(names) do
            if is_full() then
                break
            end
            if account ~= after or name > score then
                local packed = call('HGET', key, name)
                add({ account, id, token_hash(packed), token_row(name, packed) }, 0)
            end
        end
    end
    answer[2] = is_full() and 1 or 0
end

function sections.subscriptions()
    for lane = tonumber(after == '' and '0' or after) + 1, tonumber(call('HGET', META, 'lane') or 0) do
        local name = int(lane)
        add({ name, status(name), call('HGET', root .. 'lane:' .. name, 'deleted') }, 0)
        if is_full() then
            answer[2] = 1
            return
        end
    end
end

function sections.events()
    each(root .. 'events', function(event)
        local head, payload, key, extra = unpack(event_row(event))
        add({ event, head, payload, key, extra, int(read_head(head).first) }, #payload)
    end)
end

-- Of a delivery with a group: that, its place in the group's order, whether others are before it.
local function place_in_order(delivery)
    if not delivery.group then
        return {}
    end
    local has_earlier = in_order(delivery.lane, delivery.group, 1)[1] ~= delivery.position
    return { delivery.group, int(delivery.sequence), has_earlier and 1 or 0 }
end

function sections.deliveries()
    local position = tonumber(after == '' and '0' or after)
    local last = tonumber(call('HGET', META, 'position') or 0)
    for _ = 1, LOOK_AT do
        if position >= last then
            return
        end
        position = position + 1
        local delivery = read_delivery(position)
        if delivery then
            local row = record(delivery)
            add({ is_deleted(delivery.lane) and 1 or 0, row, place_in_order(delivery) }, 0)
            for at = 11, #row do
                bytes = bytes + (row[at] and #row[at] or 0)
            end
        elseif position % 64 == 0 and position + 64 <= last and call('EXISTS', (slot(position))) == 0 then
            -- A whole bucket is gone.
            position = position + 63
        end
        answer[3] = int(position)
        if is_full() then
            break
        end
    end
    answer[2] = position < last and 1 or 0
end

function sections.fingerprints()
    each(root .. 'print-ends', function(md5, ends)
        local print = call('HGET', root .. 'prints', md5)
        add({ md5, string.sub(print, 1, 16), string.sub(print, 17), ends == 'inf' and '' or ends }, 0)
    end)
end

function sections.keys()
    each(root .. 'key-ends', function(key, ends)
        local kept = call('HGET', root .. 'keys', key)
        local answered = cmsgpack.unpack(string.sub(kept, 33))
        table.remove(answered, 1)
        add({ key, string.sub(kept, 1, 32), ends, answered }, #kept)
    end)
end

function sections.notices()
    each(root .. 'notices', function(id, due)
        local lane, reason, time, failures, since, begun =
            unpack(call('HMGET', root .. 'notice:' .. id, 'lane', 'reason', 'time', 'failures', 'since', 'begun'))
        local subscription = call('HGET', root .. 'lane:' .. lane, 'id')
        add({ id, subscription, reason, time, failures, since, due, begun and 1 or 0 }, 0)
    end)
end

-- A place is a name, and as its score its kind.
function sections.documents()
    local kinds = call('HKEYS', root .. 'document-versions')
    table.sort(kinds)
    for _, kind in ipairs(kinds) do
        if kind >= score and not is_full() then
            local from = kind == score and '(' .. after or '-'
            for _, name in ipairs(call('ZRANGEBYLEX', root .. 'document-names:' .. kind, from, '+', 'LIMIT', 0, limit)) do
                if is_full() then
                    break
                end
                local kept = call('HGET', root .. 'documents:' .. kind, name)
                add({ kind, document_row(name, kept) }, #kept)
            end
        end
    end
    answer[2] = is_full() and 1 or 0
end

sections[section]()
return answer
