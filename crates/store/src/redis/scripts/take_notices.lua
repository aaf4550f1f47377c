-- ARGV: now, until when nobody else gets them, limit. Answers for each notice: id, subscription's id, account's id, user_id,
-- event types, URL, reason, time, failures, since when, e-mail address, whether its mail is begun.
local answer = { 'ok' }
for _, id in ipairs(call('ZRANGEBYSCORE', root .. 'notices', '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
    call('ZADD', root .. 'notices', ARGV[2], id)
    local lane, reason, time, failures, since, begun =
        unpack(call('HMGET', root .. 'notice:' .. id, 'lane', 'reason', 'time', 'failures', 'since', 'begun'))
    local subscription, account, event, url =
        unpack(call('HMGET', root .. 'lane:' .. lane, 'id', 'account', 'event', 'url'))
    local owner, user_id, email = unpack(account_row(account))
    answer[#answer + 1] =
        { id, subscription, owner, user_id, event, url, reason, time, failures, since, email, begun and 1 or 0 }
end
return answer
