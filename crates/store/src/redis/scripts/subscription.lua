-- ARGV: account's id, id.
local lane = own_lane(ARGV[1], ARGV[2])
if not lane then
    return { 'missing' }
end
return { 'ok', status(lane) }
