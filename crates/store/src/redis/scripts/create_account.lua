-- ARGV: id, user_id, token's hash, time of making, e-mail address (may be missing).
local id, user_id, token = ARGV[1], ARGV[2], ARGV[3]
if call('HEXISTS', root .. 'account-ids', id) == 1 or call('HEXISTS', root .. 'user-ids', user_id) == 1
    or call('HEXISTS', root .. 'tokens', token) == 1 then
    return { 'conflict' }
end
local account = int(call('HINCRBY', META, 'account', 1))
local key = root .. 'account:' .. account
call('HSET', key, 'id', id, 'user_id', user_id, 'token', token, 'made', ARGV[4])
if ARGV[5] then
    call('HSET', key, 'email', ARGV[5])
end
call('HSET', root .. 'account-ids', id, account)
call('HSET', root .. 'user-ids', user_id, account)
call('HSET', root .. 'tokens', token, account)
call('ZADD', root .. 'accounts', account, account)
return { 'ok' }
