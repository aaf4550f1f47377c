-- ARGV: the present token's hash, the new one's.
local owner = call('HGET', root .. 'tokens', ARGV[1])
if not owner then
    return { 'missing' }
end
if call('HEXISTS', root .. 'tokens', ARGV[2]) == 1 then
    return { 'conflict' }
end
local account, name = string.match(owner, '^(%d+) (.+)$')
local _, scope, made, ends = unpack(token_row(name, call('HGET', root .. 'tokens-of:' .. account, name)))
call('HDEL', root .. 'tokens', ARGV[1])
put_token(account, name, ARGV[2], scope, made, ends)
return { 'ok', account_row(account) }
