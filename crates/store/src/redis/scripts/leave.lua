-- ARGV: holder, now, most that may wait in a lane.
end_lease(ARGV[1], ARGV[2])
settle(tonumber(ARGV[2]), tonumber(ARGV[3]))
return { 'ok' }
