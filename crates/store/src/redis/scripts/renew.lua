-- ARGV: holder, expiry. Whoever ends a lease removes it: while it is there nobody has taken anything over, however late it is.
if not call('ZSCORE', root .. 'leases', ARGV[1]) then
    return { 'missing' }
end
call('ZADD', root .. 'leases', ARGV[2], ARGV[1])
return { 'ok' }
