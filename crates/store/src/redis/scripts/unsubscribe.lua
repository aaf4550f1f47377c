-- ARGV: account's id, id, now. What waits is dropped from the indexes at once, in the server's background, and by that is
-- cancelled.
local lane = own_lane(ARGV[1], ARGV[2])
if not lane then
    return { 'missing' }
end
local key = root .. 'lane:' .. lane
local account, event, url = unpack(call('HMGET', key, 'account', 'event', 'url'))
call('HSET', key, 'deleted', ARGV[3], 'active', '0', 'secret', '')
call('HDEL', root .. 'lanes-once', account .. ' ' .. event .. ' ' .. url)
call('ZREM', root .. 'lanes-of:' .. account, lane)
call('UNLINK', root .. 'due:' .. lane, root .. 'wait:' .. lane, root .. 'order:' .. lane)
for _, notice in ipairs(call('SMEMBERS', root .. 'notices-of:' .. lane)) do
    forget_notice(notice)
end
call('DEL', root .. 'notices-of:' .. lane)
changed(lane)
touch(lane)
settle(tonumber(ARGV[3]))
return { 'ok' }
