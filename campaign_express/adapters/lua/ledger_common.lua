#!lua flags=allow-oom
-- Put before each of the other ledger_*.lua. Keys and invariants: docs/ledger.md.
--
-- KEYS[1] is "{advertiser}:", the beginning of every key that is used here: all are in its slot. Amounts are whole
-- micros, far below 2^53, so that Lua's doubles are exact.
--
-- A script runs alone, so what it changes is added up here and written once at its end, by `flush`: of a batch of events
-- most change the same few numbers, and every write also goes to the append-only file and the replicas.

local changes = {} -- hash -> field -> amount to add
local period_at = {} -- period -> Unix seconds within it, by which it is found when it is old
local leases = {} -- lease -> campaign -> {outstanding, periods as a line}

local function key(name)
  return KEYS[1] .. name
end

local function text(number)
  return string.format('%.0f', number)
end

local function field(hash, name)
  return tonumber(redis.call('HGET', key(hash), name) or 0)
end

local function add(hash, name, amount)
  local fields = changes[hash]
  if not fields then
    fields = {}
    changes[hash] = fields
  end
  fields[name] = (fields[name] or 0) + amount
end

local function count(name, amount)
  add('flows', name, amount)
end

local function words(line)
  local found = {}
  for word in string.gmatch(line, '%S+') do
    found[#found + 1] = word
  end
  return found
end

-- Add to what is committed ('c') or reserved ('r') in all six scopes. `periods`: day and hour of the campaign, day and
-- hour of the account. `at`: Unix seconds within them.
local function move(kind, campaign, periods, amount, at)
  if amount == 0 then
    return
  end
  local own = kind .. ':' .. campaign
  add('total', own, amount)
  add('total', kind, amount)
  for i = 1, 4 do
    add(periods[i], i <= 2 and own or kind, amount)
    period_at[periods[i]] = at
  end
end

-- What a campaign has outstanding in a lease: {amount, line of periods or false}.
local function lent(campaign, lease)
  local campaigns = leases[lease]
  if not campaigns then
    campaigns = {}
    leases[lease] = campaigns
  end
  local found = campaigns[campaign]
  if not found then
    local stored = redis.call('HMGET', key('lease:' .. lease), campaign, '|' .. campaign)
    found = { tonumber(stored[1] or 0), stored[2] }
    campaigns[campaign] = found
  end
  return found
end

-- Take up to `amount` out of what a campaign has outstanding in a lease. Returns what was taken.
local function release(campaign, lease, amount)
  local found = lent(campaign, lease)
  local taken = math.min(amount, found[1])
  if taken > 0 then
    found[1] = found[1] - taken
    move('r', campaign, words(found[2]), -taken, lease)
  end
  return taken
end

local function flush()
  for hash, fields in pairs(changes) do
    for name, amount in pairs(fields) do
      if amount ~= 0 then
        local changed = redis.call('HINCRBY', key(hash), name, text(amount))
        if changed == amount and period_at[hash] then -- it was 0, so the period may be new
          redis.call('ZADD', key('periods'), period_at[hash], hash)
        end
      end
    end
  end
  for lease, campaigns in pairs(leases) do
    for campaign, found in pairs(campaigns) do
      if found[1] > 0 then
        redis.call('HSET', key('lease:' .. lease), campaign, text(found[1]), '|' .. campaign, found[2])
      elseif found[2] then
        redis.call('HDEL', key('lease:' .. lease), campaign, '|' .. campaign)
      end
    end
  end
end

local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end
