-- Whether the store takes writes and has room for a small event. ARGV: most bytes (0: no limit).
local used = call('HINCRBY', META, 'bytes', 0)
if tonumber(ARGV[1]) > 0 and used + 1024 > tonumber(ARGV[1]) then
    return { 'full', int(used) }
end
return { 'ok' }
