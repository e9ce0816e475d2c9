-- Put before each of the other ledger_*.lua. Keys and invariants: docs/ledger.md.
--
-- KEYS[1] is "{advertiser}:", the beginning of every key that is used here: all are in its slot. Amounts are whole
-- micros, far below 2^53, so that Lua's doubles are exact.

local function key(name)
  return KEYS[1] .. name
end

local function text(number)
  return string.format('%.0f', number)
end

local function field(hash, name)
  return tonumber(redis.call('HGET', key(hash), name) or 0)
end

local function count(name, amount)
  if amount ~= 0 then
    redis.call('HINCRBY', key('flows'), name, text(amount))
  end
end

local function words(line)
  local found = {}
  for word in string.gmatch(line, '%S+') do
    found[#found + 1] = word
  end
  return found
end

-- Add to what is committed ('c') or reserved ('r') in all six scopes. `periods`: day and hour of the campaign, day and
-- hour of the account. `at`: Unix seconds within them, by which periods are found when they are old.
local function move(kind, campaign, periods, amount, at)
  if amount == 0 then
    return
  end
  local by, own = text(amount), kind .. ':' .. campaign
  redis.call('HINCRBY', key('total'), own, by)
  redis.call('HINCRBY', key('total'), kind, by)
  for i = 1, 4 do
    local changed = redis.call('HINCRBY', key(periods[i]), i <= 2 and own or kind, by)
    if changed == amount then -- it was 0, so the period may be new
      redis.call('ZADD', key('periods'), at, periods[i])
    end
  end
end

-- Take up to `amount` out of what a campaign has outstanding in a lease. Returns what was taken.
local function release(campaign, lease, amount)
  local record = key('lease:' .. lease)
  local found = redis.call('HMGET', record, campaign, '|' .. campaign)
  if not found[1] then
    return 0
  end
  local outstanding = tonumber(found[1])
  local taken = math.min(amount, outstanding)
  if taken == outstanding then
    redis.call('HDEL', record, campaign, '|' .. campaign)
  else
    redis.call('HINCRBY', record, campaign, text(-taken))
  end
  move('r', campaign, words(found[2]), -taken, lease)
  return taken
end

local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end
