-- Empty an advertiser's ledger for a rebuild. It lends nothing, and nobody else sweeps it, until its fence is set.
-- Returns how many keys were removed.

local names = { 'total', 'flows', 'marks', 'periods', 'leases', 'hours', 'lost' }
for index, before in pairs({ periods = '', leases = 'lease:', hours = 'bids:', lost = 'lost:' }) do
  for _, name in ipairs(redis.call('ZRANGE', key(index), 0, -1)) do
    names[#names + 1] = before .. name
  end
end
redis.call('DEL', key('fence'))
redis.call('HSET', key('fence'), 'rebuilding', '1')
local removed = 0
for _, name in ipairs(names) do
  removed = removed + redis.call('UNLINK', key(name))
end
return removed
