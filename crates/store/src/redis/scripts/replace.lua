-- ARGV: account's id, id, version, event types, URL, options, secrets. Answers how the subscription is then, unless it is of
-- another version or another one of the account is like that.
local lane = own_lane(ARGV[1], ARGV[2])
if not lane then
    return { 'missing' }
end
if tonumber(call('ZSCORE', root .. 'changes', lane)) ~= tonumber(ARGV[3]) then
    return { 'outdated' }
end
local key = root .. 'lane:' .. lane
local account, event, url = unpack(call('HMGET', key, 'account', 'event', 'url'))
local once = account .. ' ' .. ARGV[4] .. ' ' .. ARGV[5]
local existing = call('HGET', root .. 'lanes-once', once)
if existing and existing ~= lane then
    return { 'taken' }
end
call('HDEL', root .. 'lanes-once', account .. ' ' .. event .. ' ' .. url)
call('HSET', root .. 'lanes-once', once, lane)
call('HSET', key, 'event', ARGV[4], 'url', ARGV[5], 'options', ARGV[6], 'secret', ARGV[7])
changed(lane)
return { 'ok', status(lane) }
