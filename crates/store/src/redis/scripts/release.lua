-- ARGV: holder, now, most that may wait in a lane, positions.
for index = 4, #ARGV do
    local delivery = read_delivery(tonumber(ARGV[index]))
    if delivery and delivery.state == SENDING and delivery.holder == ARGV[1] then
        give_back(delivery, ARGV[2])
    end
end
settle(tonumber(ARGV[2]), tonumber(ARGV[3]))
return { 'ok' }
