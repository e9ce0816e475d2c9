-- Release what no timely notice can settle any more, and forget bids and periods that are old.
--
-- ARGV: last lease to sweep, last hour of lost and of settled bids to forget, last second of hours and of days to
-- forget, 1 when a rebuild asks, most leases in one call. Returns {leases swept, micros released, 1 when there is more}.

-- A ledger whose node has changed may lack events that settle a lease, and one that is rebuilt does.
if redis.call('HGET', key('fence'), 'run_id') ~= run_id() and ARGV[6] ~= '1' then
  return { 0, 0, 0 }
end

local function mark(name, value)
  if value > field('marks', name) then -- clocks may go back, marks do not
    redis.call('HSET', key('marks'), name, text(value))
  end
end

local most = tonumber(ARGV[7])
local old = redis.call('ZRANGEBYSCORE', key('leases'), '-inf', ARGV[1], 'LIMIT', 0, most)
local released = 0
for _, lease in ipairs(old) do
  local record = redis.call('HGETALL', key('lease:' .. lease))
  for i = 1, #record, 2 do
    if string.sub(record[i], 1, 1) ~= '|' then
      released = released + release(record[i], lease, tonumber(record[i + 1]))
    end
  end
  redis.call('ZREM', key('leases'), lease)
end
count('swept', released)
flush()
local more = #old == most
mark('swept', tonumber(more and old[#old] or ARGV[1]))
if more then
  return { #old, released, 1 }
end

local function forget_bids(index, before, last)
  for _, hour in ipairs(redis.call('ZRANGEBYSCORE', key(index), '-inf', last)) do
    redis.call('UNLINK', key(before .. hour))
    redis.call('ZREM', key(index), hour)
  end
end
forget_bids('lost', 'lost:', ARGV[2])
forget_bids('hours', 'bids:', ARGV[3])
mark('purged', tonumber(ARGV[3]))

local function forget(letter, last)
  for _, period in ipairs(redis.call('ZRANGEBYSCORE', key('periods'), '-inf', last)) do
    if string.sub(period, 1, 1) == letter then
      redis.call('UNLINK', key(period))
      redis.call('ZREM', key('periods'), period)
    end
  end
end
forget('h', ARGV[4])
forget('d', ARGV[5])
return { #old, released, 0 }
