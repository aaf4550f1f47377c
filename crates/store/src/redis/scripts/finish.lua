-- ARGV: holder, now, most that may wait in a lane, failures in a row that are tolerated, how long (ms) they must have lasted;
-- then for each outcome: position, attempt's number, its time, the attempt as JSON, what becomes of the delivery ('delivered',
-- 'failed' or the time of the next try), whether the callback is gone for good.
--
-- Answers how many did not count, and the ids of subscriptions that have become inactive.
local holder, now, max_waiting = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local max_failures, lasting = tonumber(ARGV[4]), tonumber(ARGV[5])
local answer, ignored = { 'ok', 0 }, 0

local function keep_attempt(delivery, number, attempt)
    local key = root .. 'event:' .. delivery.event
    local head = read_head(call('HGET', key, 'head'))
    local field = int(delivery.position - head.first) .. '.' .. number
    local before = call('HSTRLEN', key, field)
    call('HSET', key, field, attempt)
    local more = #attempt - before + (before == 0 and ATTEMPT_BYTES or 0)
    call('HINCRBY', META, 'bytes', int(more))
end

local function settle_delivery(delivery, becomes)
    if becomes == 'delivered' then
        let_go(delivery, DELIVERED)
    elseif becomes == 'failed' then
        let_go(delivery, FAILED)
        local member = place(delivery.position)
        call('ZADD', root .. 'failed:' .. delivery.lane, member, member)
    elseif is_deleted(delivery.lane) then
        let_go(delivery, CANCELLED)
    else
        let_go(delivery, WAITING)
        wait(delivery, becomes)
    end
end

-- Subscriptions that are known to have no failures: a success tells nothing new of them.
local healthy = {}

local function keep_health(lane, time, delivered, gone)
    local key = root .. 'lane:' .. lane
    if delivered then
        if not healthy[lane] and tonumber(call('HGET', key, 'failures') or 0) > 0 then
            call('HDEL', key, 'failures', 'since')
        end
        healthy[lane] = true
        return
    end
    healthy[lane] = false
    -- Failures are counted as of their own time: a retry queue that is drained late must not look like a long outage.
    call('HSETNX', key, 'since', time)
    local failures = call('HINCRBY', key, 'failures', 1)
    local since, active, id = unpack(call('HMGET', key, 'since', 'active', 'id'))
    local is_beyond = failures > max_failures and math.max(now - tonumber(since), 0) >= lasting
    if active == '1' and (gone or is_beyond) then
        deactivate(lane)
        answer[#answer + 1] = id
    end
end

for at = 6, #ARGV, 6 do
    local delivery = read_delivery(tonumber(ARGV[at]))
    if delivery and delivery.state == SENDING and delivery.holder == holder then
        local number, becomes = ARGV[at + 1], ARGV[at + 4]
        delivery.attempts = number
        settle_delivery(delivery, becomes)
        keep_attempt(delivery, number, ARGV[at + 3])
        keep_health(delivery.lane, ARGV[at + 2], becomes == 'delivered', ARGV[at + 5] == '1')
    else
        ignored = ignored + 1
    end
end
settle(now, max_waiting)
answer[2] = ignored
return answer
