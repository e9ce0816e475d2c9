-- Settle events of one advertiser, in order. Idempotent: of each bid it is kept which kinds of event were applied.
--
-- ARGV: number of events; an event: bid key, kind (1 win, 2 billing, 4 impression, 8 loss), authorised, lease,
-- campaign, clear price (-1: it says none), 1 if it sets the price, 1 if its price is not believed, hour of the bid (for
-- its record), day, hour, account day, account hour, Unix seconds of the bid.
-- Returns outcome and change of committed, one after the other, for each event.
--
-- A bid's record is "mask:committed", the mask being the sum of kinds applied, and 16 once its price is final. Of a bid
-- that was only lost there is another record: most bids are lost, and once their lease is swept nobody asks for it.

local LOSS, PRICED = 8, 16
local purged, swept = field('marks', 'purged'), field('marks', 'swept')

local records = {} -- hash -> bid -> record: written at the end, like everything

local function recorded(hash, bid)
  return records[hash] and records[hash][bid] or redis.call('HGET', key(hash), bid)
end

local function has(mask, bit)
  return math.floor(mask / bit) % 2 == 1
end

local answer = {}
local at = 2
for _ = 1, tonumber(ARGV[1]) do
  local bid, kind, authorised = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local lease, campaign, clear = ARGV[at + 3], ARGV[at + 4], tonumber(ARGV[at + 5])
  local sets_price, disbelieved, hour = ARGV[at + 6] == '1', ARGV[at + 7] == '1', ARGV[at + 8]
  local periods = { ARGV[at + 9], ARGV[at + 10], ARGV[at + 11], ARGV[at + 12] }
  local seconds = ARGV[at + 13]
  at = at + 14

  local outcome, change = 'applied', 0
  local bids, losses = 'bids:' .. hour, 'lost:' .. hour
  local record = recorded(bids, bid) or recorded(losses, bid)
  local mask, committed = 0, 0
  if record then
    local first, second = string.match(record, '^(%d+):(%d+)$')
    mask, committed = tonumber(first), tonumber(second)
  end

  if tonumber(hour) <= purged then
    outcome = 'expired' -- whether it was applied is forgotten: better unpaid than paid twice
  elseif has(mask, kind) then
    outcome = 'duplicate'
  else
    local settled = mask % LOSS > 0
    local reserved = lease ~= '0' and not settled and not has(mask, LOSS)
    mask = mask + kind
    if kind == LOSS then
      if reserved then
        count('cancelled', release(campaign, lease, authorised))
      end
    else
      local price = nil
      if sets_price and not has(mask, PRICED) then
        mask = mask + PRICED
        if disbelieved or clear > authorised then
          outcome = 'quarantined'
          price = authorised
        elseif clear >= 0 then
          price = clear
        else
          mask = mask - PRICED -- the price notice, and no price in it: it stays what was authorised
        end
      elseif disbelieved then
        outcome = 'quarantined'
      end
      if not settled then
        change = price or authorised
        local taken = 0
        if reserved then
          taken = release(campaign, lease, authorised)
          count('settled', taken)
        end
        if outcome == 'applied' and lease ~= '0' and taken < authorised then
          outcome = (reserved and tonumber(lease) <= swept) and 'late' or 'unreserved'
        end
      elseif price then
        change = price - committed
      end
      committed = committed + change
      move('c', campaign, periods, change, seconds)
    end
    local hash = mask == LOSS and losses or bids
    records[hash] = records[hash] or {}
    records[hash][bid] = mask .. ':' .. text(committed)
  end
  if outcome ~= 'applied' and outcome ~= 'duplicate' then
    count('n:' .. outcome, 1)
    count('micros:' .. outcome, change)
  end
  answer[#answer + 1] = outcome
  answer[#answer + 1] = change
end
for hash, bids in pairs(records) do
  local kind, hour = string.match(hash, '^(%a+):(%d+)$')
  redis.call('ZADD', key(kind == 'bids' and 'hours' or 'lost'), hour, hour)
  for bid, record in pairs(bids) do
    redis.call('HSET', key(hash), bid, record)
  end
end
flush()
return answer
