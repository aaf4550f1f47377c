-- ARGV: holder, expiry, now. Whoever ends a lease removes it: while it is there nobody has taken anything over, however late it
-- is. Answers how many nodes send.
if not call('ZSCORE', root .. 'leases', ARGV[1]) then
    return { 'missing' }
end
call('ZADD', root .. 'leases', ARGV[2], ARGV[1])
local seen, count = {}, 0
for _, alive in ipairs(call('ZRANGEBYSCORE', root .. 'leases', '(' .. ARGV[3], '+inf')) do
    local node = call('HGET', root .. 'nodes', alive)
    if node and not seen[node] then
        seen[node] = true
        count = count + 1
    end
end
return { 'ok', count }
