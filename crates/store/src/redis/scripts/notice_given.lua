-- ARGV: notice's id.
local lane = call('HGET', root .. 'notice:' .. ARGV[1], 'lane')
if lane then
    call('SREM', root .. 'notices-of:' .. lane, ARGV[1])
    forget_notice(ARGV[1])
end
return { 'ok' }
