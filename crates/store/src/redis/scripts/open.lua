-- Notes which version writes here, unless what is here is for newer ones, and brings an older store to this one, some of it at a
-- time: where it answers `again` there is more to do.
-- ARGV: the version of this program's scheme, the oldest that can read what it writes.
local AT_ONCE = 1000

-- Until version 3 an account had one token, whose hash was in `account:A`.
local function name_tokens()
    local done = call('HGET', META, 'named') or '0'
    local accounts = call('ZRANGEBYSCORE', root .. 'accounts', '(' .. done, '+inf', 'LIMIT', 0, AT_ONCE)
    for _, account in ipairs(accounts) do
        local key = root .. 'account:' .. account
        local token, made = unpack(call('HMGET', key, 'token', 'made'))
        if token then
            put_token(account, 'default', token, 'write', made, '')
            call('HDEL', key, 'token')
        end
        done = account
    end
    call('HSET', META, 'named', done)
    return #accounts < AT_ONCE
end

local schema, reader = unpack(call('HMGET', META, 'schema', 'reader'))
if reader and tonumber(reader) > tonumber(ARGV[1]) then
    return { 'newer', schema, reader }
end
if schema and tonumber(schema) < 3 and not name_tokens() then
    return { 'again' }
end
if not schema or tonumber(schema) < tonumber(ARGV[1]) then
    call('HSET', META, 'schema', ARGV[1], 'reader', ARGV[2])
    call('HDEL', META, 'named')
end
call('HSETNX', META, 'catalogue', '1')
return { 'ok' }
