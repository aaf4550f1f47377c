-- ARGV: kind, limit, whether the last name comes first, the name to begin after (empty: the beginning).
local kind, limit, descending, after = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4]
local answer, names = { 'ok' }, root .. 'document-names:' .. kind
local found
if descending then
    found = call('ZREVRANGEBYLEX', names, after == '' and '+' or '(' .. after, '-', 'LIMIT', 0, limit)
else
    found = call('ZRANGEBYLEX', names, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, limit)
end
for _, name in ipairs(found) do
    answer[#answer + 1] = document_row(name, call('HGET', root .. 'documents:' .. kind, name))
end
return answer
