-- ARGV: kind, name.
local answer = { 'ok' }
local kept = call('HGET', root .. 'documents:' .. ARGV[1], ARGV[2])
if kept then
    answer[2] = document_row(ARGV[2], kept)
end
return answer
