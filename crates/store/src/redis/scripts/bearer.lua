-- ARGV: token's hash.
local owner = call('HGET', root .. 'tokens', ARGV[1])
if not owner then
    return { 'missing' }
end
local account, name = string.match(owner, '^(%d+) (.+)$')
return { 'ok', account_row(account), token_row(name, call('HGET', root .. 'tokens-of:' .. account, name)) }
