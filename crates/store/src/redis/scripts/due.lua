-- ARGV: now, limit, the ids of subscriptions to leave out one after the other.
local now, limit, except = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for from = 1, #ARGV[3], 16 do
    except[string.sub(ARGV[3], from, from + 15)] = true
end
local answer = { 'ok', call('HGET', META, 'catalogue'), false }
local PAGE = 256
for offset = 0, call('ZCARD', root .. 'lanes'), PAGE do
    local lanes = call('ZRANGE', root .. 'lanes', offset, offset + PAGE - 1, 'WITHSCORES')
    for at = 1, #lanes, 2 do
        if tonumber(lanes[at + 1]) > now then
            answer[3] = lanes[at + 1]
            return answer
        end
        if not except[lanes[at]] then
            answer[#answer + 1] = lanes[at]
            if #answer - 3 >= limit then
                return answer
            end
        end
    end
end
return answer
