-- ARGV: notice's id.
local key = root .. 'notice:' .. ARGV[1]
if call('EXISTS', key) == 0 or call('HSETNX', key, 'begun', 1) == 0 then
    return { 'missing' }
end
return { 'ok' }
