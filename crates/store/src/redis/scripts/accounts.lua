-- ARGV: the account to begin after, limit.
local answer = { 'ok' }
for _, account in ipairs(call('ZRANGEBYSCORE', root .. 'accounts', '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])) do
    answer[#answer + 1] = account
    answer[#answer + 1] = account_row(account)
end
return answer
