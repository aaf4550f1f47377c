-- ARGV: user_id, the new token's name, its hash, now.
local account = call('HGET', root .. 'user-ids', ARGV[1])
if not account or call('HEXISTS', root .. 'account:' .. account, 'deleted') == 1 then
    return { 'missing' }
end
if call('HEXISTS', root .. 'tokens', ARGV[3]) == 1 then
    return { 'conflict' }
end
local present, made = call('HGET', root .. 'tokens-of:' .. account, ARGV[2]), ARGV[4]
if present then
    made = token_row(ARGV[2], present)[3]
    call('HDEL', root .. 'tokens', token_hash(present))
end
put_token(account, ARGV[2], ARGV[3], 'write', made, '')
return { 'ok', account_row(account) }
