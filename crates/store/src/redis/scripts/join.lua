-- ARGV: now, expiry, whether it is a server, whether it is the only one, most that may wait in a lane, its node (empty: it sends
-- nothing).
local now = tonumber(ARGV[1])
local dead, freed = 0, 0
if ARGV[4] == '1' then
    for _, server in ipairs(call('SMEMBERS', root .. 'servers')) do
        dead = dead + 1
        freed = freed + end_lease(server, ARGV[1])
    end
    settle(now, tonumber(ARGV[5]))
end
local holder = int(call('HINCRBY', META, 'incarnation', 1))
call('ZADD', root .. 'leases', ARGV[2], holder)
if ARGV[3] == '1' then
    call('SADD', root .. 'servers', holder)
end
if ARGV[6] ~= '' then
    call('HSET', root .. 'nodes', holder, ARGV[6])
end
return { 'ok', holder, dead, freed }
