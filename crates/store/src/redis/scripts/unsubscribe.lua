-- ARGV: account's id, id, now.
local lane = own_lane(ARGV[1], ARGV[2])
if not lane then
    return { 'missing' }
end
delete_lane(lane, ARGV[3])
settle(tonumber(ARGV[3]))
return { 'ok' }
