-- ARGV: account's id.
local answer = { 'ok' }
local account = call('HGET', root .. 'account-ids', ARGV[1])
local tokens = account and call('HGETALL', root .. 'tokens-of:' .. account) or {}
for at = 1, #tokens, 2 do
    answer[#answer + 1] = token_row(tokens[at], tokens[at + 1])
end
return answer
