-- ARGV: the version to begin after, limit. Answers the catalogue's version, and for each change its version, whether the
-- subscription is deleted, and how it is.
local answer = { 'ok', call('HGET', META, 'catalogue') }
local changes = call('ZRANGEBYSCORE', root .. 'changes', '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for at = 1, #changes, 2 do
    local deleted = is_deleted(changes[at]) and '1' or '0'
    answer[#answer + 1] = { changes[at + 1], deleted, status(changes[at]) }
end
return answer
