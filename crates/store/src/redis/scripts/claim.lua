-- ARGV: holder, now, most bytes of payload, most of one group, how long (ms) a probe is waited for (empty: an open breaker lets
-- everything through), due time (empty: all that wait), whether it is a pass; of a pass: whether what has failed is meant, type (empty: all), earliest
-- time of the event (empty: all), the position to begin after; then for each wanted subscription its id and how many at the
-- most. A pass is of one subscription.
--
-- Answers the position at which a pass was broken off (empty: it came to its end), and for each claimed delivery: position, the
-- number of the wanted subscription, attempts, group, event; and where it is the first one of its event: head, payload, key, extra.
local holder, now, max_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local run_max, probe_wait, due_by = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local is_pass, failed, name, since, after = ARGV[7] == '1', ARGV[8] == '1', ARGV[9], tonumber(ARGV[10]), ARGV[11]

-- A pass looks at so many deliveries at a call, since it may look at many before one is as it wants.
local PAGE, LOOK_AT = 100, 1000
local looked_at = 0

local answer, bytes, claimed = { 'ok', '' }, 0, 0

local function is_enough()
    return claimed > 0 and bytes >= max_bytes
end

-- The position of what was claimed last.
local last

-- The bytes of the payloads of events that have been told.
local told = {}

local function claim(wanted, delivery)
    local row = { int(delivery.position), wanted, delivery.attempts, delivery.group or '', delivery.event }
    if not told[delivery.event] then
        for index, value in ipairs(event_row(delivery.event)) do
            row[5 + index] = value
        end
        told[delivery.event] = #row[7]
    end
    if delivery.state == WAITING then
        take(delivery)
    elseif delivery.state == FAILED then
        call('ZREM', root .. 'failed:' .. delivery.lane, place(delivery.position))
    end
    hold(delivery, holder)
    bytes, claimed, last = bytes + told[delivery.event], claimed + 1, delivery.position
    answer[#answer + 1] = row
end

-- Claims what follows a head in its group, up to one that is held: whoever holds it has still to give it back.
local function claim_followers(wanted, head, limit)
    local followers = in_order(head.lane, head.group, limit, head)
    for count, position in ipairs(followers) do
        local delivery = read_delivery(position)
        if delivery.state ~= WAITING or is_enough() then
            return count - 1
        end
        claim(wanted, delivery)
    end
    return #followers
end

local function claim_due(wanted, lane, limit)
    local heads, left = {}, limit
    for _, member in ipairs(call('ZRANGEBYSCORE', root .. 'due:' .. lane, '-inf', due_by, 'LIMIT', 0, limit)) do
        if is_enough() then
            return
        end
        local delivery = read_delivery(tonumber(member))
        claim(wanted, delivery)
        left = left - 1
        if delivery.group then
            heads[#heads + 1] = delivery
        end
    end
    for _, head in ipairs(heads) do
        if left == 0 then
            return
        end
        left = left - claim_followers(wanted, head, math.min(left, run_max - 1))
    end
end

local function is_meant(delivery)
    if delivery.state == WAITING and (due_by ~= '' or delivery.group) then
        -- What waits for others goes when they have ended.
        local due = call('ZSCORE', root .. 'due:' .. delivery.lane, place(delivery.position))
        if not due or due_by ~= '' and tonumber(due) > tonumber(due_by) then
            return false
        end
    end
    if delivery.state == WAITING and (scheduled(delivery.event) or 0) > now then
        return false
    end
    if name == '' and not since then
        return true
    end
    local head = read_head(call('HGET', root .. 'event:' .. delivery.event, 'head'))
    return (name == '' or head.name == name) and (not since or tonumber(head.time) >= since)
end

-- The next positions after one of what waits for no other. Where that is little, what waits behind it is not looked at.
local function waiting_after(lane, position)
    if call('ZCARD', root .. 'due:' .. lane) > PAGE then
        return call('ZRANGEBYSCORE', root .. 'wait:' .. lane, '(' .. position, '+inf', 'LIMIT', 0, PAGE)
    end
    local page = {}
    for _, member in ipairs(call('ZRANGE', root .. 'due:' .. lane, 0, -1)) do
        if tonumber(member) > tonumber(position) then
            page[#page + 1] = member
        end
    end
    table.sort(page)
    return page
end

-- The next positions after one, of what waits and, if so wished, of what has failed.
local function page_after(lane, position)
    local page = waiting_after(lane, position)
    if failed then
        local more = call('ZRANGEBYSCORE', root .. 'failed:' .. lane, '(' .. position, '+inf', 'LIMIT', 0, PAGE)
        for _, member in ipairs(more) do
            page[#page + 1] = member
        end
        table.sort(page)
    end
    return page
end

local function claim_pass(wanted, lane, limit)
    local position = after
    local left = limit
    while true do
        local page = page_after(lane, position)
        for index = 1, math.min(#page, PAGE) do
            if left == 0 or is_enough() then
                return
            end
            if looked_at >= LOOK_AT then
                answer[2] = position
                return
            end
            local delivery = read_delivery(tonumber(page[index]))
            looked_at, position = looked_at + 1, page[index]
            if is_meant(delivery) then
                claim(wanted, delivery)
                left = left - 1
            end
        end
        if #page == 0 or left == 0 then
            return
        end
    end
end

-- How many may be claimed of a lane of which so many are wanted, and whether they are to find out how its callback is.
local function allowed(lane, limit)
    local active, probe = unpack(call('HMGET', root .. 'lane:' .. lane, 'active', 'probe'))
    if active ~= '1' then
        return 0, false
    elseif not probe or not probe_wait then
        return limit, false
    end
    return tonumber(probe) > now and 0 or math.min(limit, 1), true
end

if not is_alive(holder, now) then
    return { 'missing' }
end
for at = 12, #ARGV, 2 do
    local lane = call('HGET', root .. 'lane-ids', ARGV[at])
    local wanted, before = (at - 12) / 2, claimed
    local limit, is_probe = 0, false
    if lane then
        limit, is_probe = allowed(lane, tonumber(ARGV[at + 1]))
    end
    if limit > 0 and is_pass then
        claim_pass(wanted, lane, limit)
    elseif limit > 0 then
        claim_due(wanted, lane, limit)
    end
    if is_probe and claimed > before then
        call('HSET', root .. 'lane:' .. lane, 'probe', int(now + probe_wait), 'probing', int(last))
    end
end
settle(now)
return answer
