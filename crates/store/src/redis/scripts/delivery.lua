-- ARGV: position.
local delivery = read_delivery(tonumber(ARGV[1]))
if not delivery then
    return { 'missing' }
end
return { 'ok', record(delivery) }
