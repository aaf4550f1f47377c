-- ARGV: account's id, the address (may be missing).
local account = living_account(ARGV[1])
if not account then
    return { 'missing' }
end
if ARGV[2] then
    call('HSET', root .. 'account:' .. account, 'email', ARGV[2])
else
    call('HDEL', root .. 'account:' .. account, 'email')
end
return { 'ok', account_row(account) }
