-- What an account or its campaigns have spent.
--
-- ARGV, three for each: '' (account) or ':campaign', its day, its hour.
-- Returns six for each: committed in total, in the day, in the hour; reserved likewise.

local answer = {}
for at = 1, #ARGV, 3 do
  local hashes = { 'total', ARGV[at + 1], ARGV[at + 2] }
  for _, kind in ipairs({ 'c', 'r' }) do
    for _, hash in ipairs(hashes) do
      answer[#answer + 1] = redis.call('HGET', key(hash), kind .. ARGV[at]) or '0'
    end
  end
end
return answer
