-- Notes which version writes here, unless what is here is for newer ones.
-- ARGV: the version of this program's scheme, the oldest that can read what it writes.
local schema, reader = unpack(call('HMGET', META, 'schema', 'reader'))
if reader and tonumber(reader) > tonumber(ARGV[1]) then
    return { 'newer', schema, reader }
end
if not schema or tonumber(schema) < tonumber(ARGV[1]) then
    call('HSET', META, 'schema', ARGV[1], 'reader', ARGV[2])
end
call('HSETNX', META, 'catalogue', '1')
return { 'ok' }
