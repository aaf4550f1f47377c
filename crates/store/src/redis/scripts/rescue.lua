-- ARGV: now, most that may wait in a lane.
local freed = 0
for _, holder in ipairs(call('ZRANGEBYSCORE', root .. 'leases', '-inf', ARGV[1])) do
    freed = freed + end_lease(holder, ARGV[1])
end
settle(tonumber(ARGV[1]), tonumber(ARGV[2]))
return { 'ok', freed }
