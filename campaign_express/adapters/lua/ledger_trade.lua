-- Book what an agent gives back, then grant what it wants.
--
-- ARGV: wall_ms, number of returns, of wants; a return: campaign, lease, micros; a want: campaign, lease, micros,
-- share floor, least, day, hour, account day, account hour, and the grantable amounts of the six scopes ('-': no limit).
-- Returns {'' or why nothing was granted, amounts in the order of the wants; -1: that lease has ended}.

local wall_ms, returns, wants = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local at = 4

for _ = 1, returns do
  local micros = tonumber(ARGV[at + 2])
  local taken = release(ARGV[at], ARGV[at + 1], micros)
  count('returned', taken)
  at = at + 3
end

if wants == 0 then
  flush()
  return { '' }
end

-- A node that was promoted or restarted may have lost what it had not passed on: it lends nothing until the ledger was
-- compared with the event log.
local fence = redis.call('HMGET', key('fence'), 'run_id', 'opens_ms')
if fence[1] ~= run_id() then
  flush()
  return { 'reconcile' }
end
if tonumber(fence[2] or 0) > wall_ms then
  flush()
  return { 'closed' }
end

local swept = field('marks', 'swept')

local function free_of(campaign, periods, limits)
  local free = math.huge
  local function bound(hash, suffix, limit)
    if limit ~= '-' then
      local stored = redis.call('HMGET', key(hash), 'c' .. suffix, 'r' .. suffix)
      local used = tonumber(stored[1] or 0) + tonumber(stored[2] or 0)
      local reserved = changes[hash] and changes[hash]['r' .. suffix] or 0 -- by this script, which commits nothing
      free = math.min(free, tonumber(limit) - used - reserved)
    end
  end
  local own = ':' .. campaign
  bound('total', own, limits[1])
  bound(periods[1], own, limits[2])
  bound(periods[2], own, limits[3])
  bound('total', '', limits[4])
  bound(periods[3], '', limits[5])
  bound(periods[4], '', limits[6])
  return free
end

local answer = { '' }
local opened = {}
for _ = 1, wants do
  local campaign, lease, micros = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local share_floor, least = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local periods = { ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8] }
  local limits = { ARGV[at + 9], ARGV[at + 10], ARGV[at + 11], ARGV[at + 12], ARGV[at + 13], ARGV[at + 14] }
  at = at + 15
  local granted = 0
  if tonumber(lease) * 1000 <= wall_ms or tonumber(lease) <= swept then
    granted = -1
  else
    local free = free_of(campaign, periods, limits)
    granted = math.min(micros, free, math.max(math.floor(free / 8), share_floor))
    if granted < least or granted <= 0 then
      granted = 0
    else
      local found = lent(campaign, lease)
      found[1], found[2] = found[1] + granted, found[2] or table.concat(periods, ' ')
      opened[lease] = true
      -- In the periods that the lease began with: what is released later is taken from there. They differ where a zone
      -- was changed within the lease.
      move('r', campaign, words(found[2]), granted, lease)
      count('granted', granted)
    end
  end
  answer[#answer + 1] = granted
end
for lease in pairs(opened) do
  redis.call('ZADD', key('leases'), lease, lease)
end
flush()
return answer
