-- ARGV: id, account's id, event types, URL, options, secrets, whether it is active, time of making, how many the account may have
-- (empty: any number). Answers whether it is new, and how it is.
local account = living_account(ARGV[2])
if not account then
    return { 'missing' }
end
-- Neither a number nor a pattern of event types holds a space.
local once = account .. ' ' .. ARGV[3] .. ' ' .. ARGV[4]
local existing = call('HGET', root .. 'lanes-once', once)
if existing then
    return { 'ok', 0, status(existing) }
end
if ARGV[9] ~= '' and call('ZCARD', root .. 'lanes-of:' .. account) >= tonumber(ARGV[9]) then
    return { 'conflict' }
end
if call('HEXISTS', root .. 'lane-ids', ARGV[1]) == 1 then
    return { 'conflict' }
end
local lane = int(call('HINCRBY', META, 'lane', 1))
call('HSET', root .. 'lane:' .. lane, 'id', ARGV[1], 'account', account, 'event', ARGV[3], 'url', ARGV[4], 'options', ARGV[5],
    'secret', ARGV[6], 'active', ARGV[7], 'made', ARGV[8])
call('HSET', root .. 'lane-ids', ARGV[1], lane)
call('HSET', root .. 'lanes-once', once, lane)
call('ZADD', root .. 'lanes-of:' .. account, lane, lane)
changed(lane)
return { 'ok', 1, status(lane) }
