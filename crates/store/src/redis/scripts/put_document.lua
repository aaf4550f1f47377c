-- ARGV: kind, name, what is expected, body. Answers the new version.
local refusal = unexpected_document(ARGV[1], ARGV[2], ARGV[3])
if refusal then
    return { refusal }
end
return { 'ok', put_document(ARGV[1], ARGV[2], ARGV[4]) }
