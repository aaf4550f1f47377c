-- ARGV: the index of what is known, `account-ids` or `user-ids`, and that.
local account = call('HGET', root .. ARGV[1], ARGV[2])
if not account or call('HEXISTS', root .. 'account:' .. account, 'deleted') == 1 then
    return { 'missing' }
end
return { 'ok', account_row(account) }
