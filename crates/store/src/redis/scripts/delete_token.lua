-- ARGV: account's id, name, now.
local account = call('HGET', root .. 'account-ids', ARGV[1])
local key = account and root .. 'tokens-of:' .. account
local packed = key and call('HGET', key, ARGV[2])
if not packed then
    return { 'missing' }
end
local is_last = token_row(ARGV[2], packed)[2] == 'write'
local tokens = call('HGETALL', key)
for at = 1, #tokens, 2 do
    local name, scope, _, ends = unpack(token_row(tokens[at], tokens[at + 1]))
    if name ~= ARGV[2] and scope == 'write' and (ends == '' or tonumber(ends) > tonumber(ARGV[3])) then
        is_last = false
    end
end
if is_last then
    return { 'last' }
end
call('HDEL', root .. 'tokens', token_hash(packed))
call('HDEL', key, ARGV[2])
return { 'ok' }
