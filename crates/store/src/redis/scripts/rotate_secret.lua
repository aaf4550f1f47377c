-- ARGV: account's id, id, the new secret.
local lane = own_lane(ARGV[1], ARGV[2])
if not lane then
    return { 'missing' }
end
call('HSET', root .. 'lane:' .. lane, 'secret', ARGV[3])
changed(lane)
return { 'ok', status(lane) }
