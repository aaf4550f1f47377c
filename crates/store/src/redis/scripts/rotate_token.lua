-- ARGV: user_id, the new token's hash.
local account = call('HGET', root .. 'user-ids', ARGV[1])
if not account then
    return { 'missing' }
end
local owner = call('HGET', root .. 'tokens', ARGV[2])
if owner and owner ~= account then
    return { 'conflict' }
end
local key = root .. 'account:' .. account
call('HDEL', root .. 'tokens', call('HGET', key, 'token'))
call('HSET', root .. 'tokens', ARGV[2], account)
call('HSET', key, 'token', ARGV[2])
return { 'ok', account_row(account) }
