-- ARGV: account's id, name, hash, scope, time of making, of the end (empty: none).
local account = living_account(ARGV[1])
if not account then
    return { 'missing' }
end
if call('HEXISTS', root .. 'tokens', ARGV[3]) == 1 or call('HEXISTS', root .. 'tokens-of:' .. account, ARGV[2]) == 1 then
    return { 'conflict' }
end
put_token(account, unpack(ARGV, 2, 6))
return { 'ok' }
