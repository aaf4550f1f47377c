-- ARGV: kind, name, what is expected.
local documents = root .. 'documents:' .. ARGV[1]
if call('HEXISTS', documents, ARGV[2]) == 0 then
    return { 'missing' }
end
local refusal = unexpected_document(ARGV[1], ARGV[2], ARGV[3])
if refusal then
    return { refusal }
end
call('HINCRBY', root .. 'document-versions', ARGV[1], 1)
call('HDEL', documents, ARGV[2])
call('ZREM', root .. 'document-names:' .. ARGV[1], ARGV[2])
return { 'ok' }
