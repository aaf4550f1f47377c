-- ARGV: notice's id, until when.
call('ZADD', root .. 'notices', 'XX', ARGV[2], ARGV[1])
call('HDEL', root .. 'notice:' .. ARGV[1], 'begun')
return { 'ok' }
