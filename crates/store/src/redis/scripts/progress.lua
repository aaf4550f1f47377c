-- ARGV: now. Answers how far a copy has come whose target this is, and how many processes have a lease that has not run out.
return { 'ok', call('HGET', META, 'copying'), call('ZCOUNT', root .. 'leases', '(' .. ARGV[1], '+inf') }
