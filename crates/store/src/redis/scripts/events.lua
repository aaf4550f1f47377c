-- ARGV: since, until, whether the oldest come first, the event to begin behind and its time (empty: none), limit, most bytes, source
-- (empty: all). Answers for each event: id, head, payload, key, extra.
local since, until_time, ascending = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local after, after_time, limit, max_bytes, source = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local answer, bytes, index = { 'ok' }, 0, root .. 'events'

local function add(event)
    local row = event_row(event)
    if row[1] then
        answer[#answer + 1] = { event, unpack(row) }
        bytes = bytes + #row[2]
    end
end

local function is_full()
    return #answer - 1 >= limit or bytes >= max_bytes
end

-- Whether an event of this time follows the one to begin behind.
local function follows(event, time)
    if after == '' then
        return true
    elseif tonumber(time) ~= tonumber(after_time) then
        return (tonumber(time) > tonumber(after_time)) == ascending
    end
    return event ~= after and (event > after) == ascending
end

local function of_source()
    local found = {}
    for _, event in ipairs(call('SMEMBERS', root .. 'source:' .. source)) do
        local time = tonumber(call('ZSCORE', index, event) or -1)
        if time >= since and time < until_time and follows(event, time) then
            found[#found + 1] = event
        end
    end
    table.sort(found, function(one, other)
        return (one < other) == ascending and one ~= other
    end)
    return found
end

-- The ranks from which on events follow, the first one's being 0 in either order.
local function first_rank()
    if after ~= '' then
        local rank = call(ascending and 'ZRANK' or 'ZREVRANK', index, after)
        if rank then
            return rank + 1
        end
        -- It is gone: from the first of its time on.
        return ascending and call('ZCOUNT', index, '-inf', '(' .. after_time) or call('ZCOUNT', index, '(' .. after_time, '+inf')
    end
    return ascending and call('ZCOUNT', index, '-inf', '(' .. ARGV[1]) or call('ZCOUNT', index, ARGV[2], '+inf')
end

if source ~= '' then
    for _, event in ipairs(of_source()) do
        if is_full() then
            break
        end
        add(event)
    end
    return answer
end
local rank = first_rank()
local found = call(ascending and 'ZRANGE' or 'ZREVRANGE', index, rank, rank + limit - 1, 'WITHSCORES')
for at = 1, #found, 2 do
    local time = tonumber(found[at + 1])
    if is_full() or ascending and time >= until_time or not ascending and time < since then
        break
    end
    if time >= since and time < until_time and follows(found[at], time) then
        add(found[at])
    end
end
return answer
