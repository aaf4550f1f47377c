-- ARGV: account's id, what it is called from now on, now. Where it answers `again` only some of the subscriptions are gone.
local AT_ONCE = 1000
local account = living_account(ARGV[1])
if not account then
    return { 'missing' }
end
local lanes = call('ZRANGE', root .. 'lanes-of:' .. account, 0, AT_ONCE - 1)
for _, lane in ipairs(lanes) do
    delete_lane(lane, ARGV[3])
end
settle(tonumber(ARGV[3]))
if #lanes == AT_ONCE then
    return { 'again' }
end
local key, tokens = root .. 'account:' .. account, root .. 'tokens-of:' .. account
for _, packed in ipairs(call('HVALS', tokens)) do
    call('HDEL', root .. 'tokens', token_hash(packed))
end
call('DEL', tokens)
call('HDEL', root .. 'user-ids', call('HGET', key, 'user_id'))
-- Nobody may take this name, under which the history has what was the account's.
call('HSET', root .. 'user-ids', ARGV[2], account)
call('ZREM', root .. 'accounts', account)
call('HDEL', key, 'email')
call('HSET', key, 'user_id', ARGV[2], 'deleted', ARGV[3])
return { 'ok' }
