-- ARGV: account's id, id, whether it is active, now.
local lane = own_lane(ARGV[1], ARGV[2])
if not lane then
    return { 'missing' }
end
local now = ARGV[4]
if ARGV[3] == '1' then
    local key = root .. 'lane:' .. lane
    call('HSET', key, 'active', '1')
    call('HDEL', key, 'failures', 'since', 'failed', 'probe', 'probing', 'recovered')
    changed(lane)
    touch(lane)
else
    deactivate(lane)
end
settle(tonumber(now))
return { 'ok', status(lane) }
