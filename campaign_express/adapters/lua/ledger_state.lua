-- All of an advertiser's ledger but the records of bids, at one moment.
-- Returns {total, flows, marks, {period, its hash, ...}, {lease, its hash, ...}}, hashes as HGETALL gives them.

local function flat(hash)
  return redis.call('HGETALL', key(hash))
end

local function each(index, before)
  local found = {}
  for _, name in ipairs(redis.call('ZRANGE', key(index), 0, -1)) do
    found[#found + 1] = name
    found[#found + 1] = flat(before .. name)
  end
  return found
end

return { flat('total'), flat('flows'), flat('marks'), each('periods', ''), each('leases', 'lease:') }
