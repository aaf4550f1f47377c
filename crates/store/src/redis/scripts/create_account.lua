-- ARGV: id, user_id, token's hash, its name, time of making, e-mail address (may be missing).
local id, user_id, token = ARGV[1], ARGV[2], ARGV[3]
if call('HEXISTS', root .. 'account-ids', id) == 1 or call('HEXISTS', root .. 'user-ids', user_id) == 1
    or call('HEXISTS', root .. 'tokens', token) == 1 then
    return { 'conflict' }
end
local account = int(call('HINCRBY', META, 'account', 1))
local key = root .. 'account:' .. account
call('HSET', key, 'id', id, 'user_id', user_id, 'made', ARGV[5])
if ARGV[6] then
    call('HSET', key, 'email', ARGV[6])
end
call('HSET', root .. 'account-ids', id, account)
call('HSET', root .. 'user-ids', user_id, account)
call('ZADD', root .. 'accounts', account, account)
put_token(account, ARGV[4], token, 'write', ARGV[5], '')
return { 'ok' }
