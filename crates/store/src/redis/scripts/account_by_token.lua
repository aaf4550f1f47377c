-- ARGV: token's hash.
local account = call('HGET', root .. 'tokens', ARGV[1])
if not account then
    return { 'missing' }
end
return { 'ok', account_row(account) }
