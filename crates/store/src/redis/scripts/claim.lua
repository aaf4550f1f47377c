-- ARGV: holder, now, most bytes of payload, due time (empty: all that wait), whether it is a pass; of a pass: whether what has
-- failed is meant, type (empty: all), earliest time of the event (empty: all), the position to begin after; then for each
-- wanted subscription its id and how many at the most. A pass is of one subscription.
--
-- Answers the position at which a pass was broken off (empty: it came to its end), and for each claimed delivery: position, the
-- number of the wanted subscription, attempts, event, head, payload.
local holder, now, max_bytes, due_by = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local is_pass, failed, name, since, after = ARGV[5] == '1', ARGV[6] == '1', ARGV[7], tonumber(ARGV[8]), ARGV[9]

-- A pass looks at so many deliveries at a call, since it may look at many before one is as it wants.
local PAGE, LOOK_AT = 100, 1000
local looked_at = 0

local answer, bytes, claimed = { 'ok', '' }, 0, 0

local function is_enough()
    return claimed > 0 and bytes >= max_bytes
end

local function claim(wanted, delivery)
    local head, payload = unpack(call('HMGET', root .. 'event:' .. delivery.event, 'head', 'payload'))
    if delivery.state == WAITING then
        take(delivery)
    else
        call('ZREM', root .. 'failed:' .. delivery.lane, place(delivery.position))
    end
    hold(delivery, holder)
    bytes, claimed = bytes + #payload, claimed + 1
    answer[#answer + 1] = { int(delivery.position), wanted, delivery.attempts, delivery.event, head, payload }
end

local function claim_due(wanted, lane, limit)
    for _, member in ipairs(call('ZRANGEBYSCORE', root .. 'due:' .. lane, '-inf', due_by, 'LIMIT', 0, limit)) do
        if is_enough() then
            return
        end
        claim(wanted, read_delivery(tonumber(member)))
    end
end

local function is_meant(delivery)
    if delivery.state == WAITING and due_by ~= '' then
        local due = call('ZSCORE', root .. 'due:' .. delivery.lane, place(delivery.position))
        if tonumber(due) > tonumber(due_by) then
            return false
        end
    end
    if name == '' and not since then
        return true
    end
    local head = read_head(call('HGET', root .. 'event:' .. delivery.event, 'head'))
    return (name == '' or head.name == name) and (not since or tonumber(head.time) >= since)
end

-- The next positions after one, of what waits and, if so wished, of what has failed.
local function page_after(lane, position)
    local page = call('ZRANGEBYSCORE', root .. 'wait:' .. lane, '(' .. position, '+inf', 'LIMIT', 0, PAGE)
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

if not is_alive(holder, tonumber(now)) then
    return { 'missing' }
end
for at = 10, #ARGV, 2 do
    local lane = call('HGET', root .. 'lane-ids', ARGV[at])
    if lane and call('HGET', root .. 'lane:' .. lane, 'active') == '1' then
        local wanted, limit = (at - 10) / 2, tonumber(ARGV[at + 1])
        if is_pass then
            claim_pass(wanted, lane, limit)
        else
            claim_due(wanted, lane, limit)
        end
    end
end
settle(tonumber(now))
return answer
