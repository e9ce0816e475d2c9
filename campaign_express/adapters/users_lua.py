"""The Lua scripts of a person's two keys, for all that reads and writes at once. docs/profiles.md has the key table.

`u:{<token>}`, a hash: what is counted.

    @        the canonical token, where this one is only an alias; then nothing else counts here
    n<token> a pending weight: weight (3 digits), end (13 digits of wall-clock ms)
    h<bid>   a hold: end (13), shown by (13), 1 when won (1), hash (10), then entities with commas between
    i        impressions, msgpack: {entity: [hash, time, hash, time, ...]}, oldest first
    f, l     first and last seen, 13 digits

`p:{<token>}`, a string, msgpack: the profile, [valid until, first seen, [segment, ...], [interest, ...]].

All times are wall-clock milliseconds and come from the caller, since a simulation's clock is not Redis's. `hash` is 32
bits of the bid's key: an impression is known again by it. Each script may be run twice with the same arguments. On an
alias it does nothing and returns the canonical token.

Bidding itself needs none of them: it writes its pending weight, and reads the hash afterwards, with plain commands. Of
two who do so at the same time at least one sees the other's weight, which is all that a cap needs.
"""

from __future__ import annotations

import hashlib

MAX_ENTITIES = 128  # of a user; the one shown longest ago is forgotten
MAX_TIMES = 1000  # of an entity: the largest limit of a cap

_COMMON = f"""
local key = KEYS[1]

local function opened(blob)
  if blob then return cmsgpack.unpack(blob) end
  return {{}}
end

local function has(list, hash)
  for at = 1, #list, 2 do
    if list[at] == hash then return true end
  end
  return false
end

-- One impression more, unless it is known; only the last `keep` stay.
local function show(shown, entity, hash, time, keep)
  local list = shown[entity]
  if not list then
    local count, oldest, oldest_time = 0, nil, nil
    for name, times in pairs(shown) do
      count = count + 1
      local last = times[#times]
      if not oldest or last < oldest_time or (last == oldest_time and name < oldest) then
        oldest, oldest_time = name, last
      end
    end
    if count >= {MAX_ENTITIES} then shown[oldest] = nil end
    list = {{}}
    shown[entity] = list
  elseif has(list, hash) then
    return
  end
  local at = #list + 1
  while at > 1 and list[at - 1] > time do at = at - 2 end
  table.insert(list, at, hash)
  table.insert(list, at + 1, time)
  while #list > 2 * keep do
    table.remove(list, 1)
    table.remove(list, 1)
  end
end

local function show_hold(shown, hold, time)
  local hash = tonumber(string.sub(hold, 28, 37))
  for entity in string.gmatch(string.sub(hold, 38), '[^,]+') do show(shown, entity, hash, time, {MAX_TIMES}) end
end

local function is_shown(shown, hold)
  local hash = tonumber(string.sub(hold, 28, 37))
  for entity in string.gmatch(string.sub(hold, 38), '[^,]+') do
    if shown[entity] and has(shown[entity], hash) then return true end
  end
  return false
end

local function put_shown(shown)
  if next(shown) then redis.call('HSET', key, 'i', cmsgpack.pack(shown)) end
end

local function seen(now)
  redis.call('HSETNX', key, 'f', now)
  redis.call('HSET', key, 'l', now)
end

-- The key lives at least `ttl` ms more, and never shorter than it would have.
local function live(ttl)
  if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end
"""

# ARGV: now, ms that counts stay, bid, hash, time of the impression, then entity and how many to keep, for each. The
# hold may know entities that the caller does not: they count as well.
CONFIRM = (
    _COMMON
    + """
local state = redis.call('HMGET', key, '@', 'i', 'h' .. ARGV[3])
if state[1] then return state[1] end
local shown, hold, time = opened(state[2]), state[3], tonumber(ARGV[5])
for at = 6, #ARGV, 2 do show(shown, ARGV[at], tonumber(ARGV[4]), time, tonumber(ARGV[at + 1])) end
if hold then
  show_hold(shown, hold, time)
  redis.call('HDEL', key, 'h' .. ARGV[3])
end
if next(shown) then
  put_shown(shown)
  seen(ARGV[1])
  live(ARGV[2])
end
return 1
"""
)

# ARGV: bid. It was lost; one that was won before is not lost any more.
RELEASE = """
local state = redis.call('HMGET', KEYS[1], '@', 'h' .. ARGV[1])
if state[1] then return state[1] end
if state[2] and string.sub(state[2], 27, 27) == '0' then redis.call('HDEL', KEYS[1], 'h' .. ARGV[1]) end
return 1
"""

# ARGV: now, ms that counts stay, bid, its hold as it is when won. Where the hold is not there (not yet, or a loss was
# told before), it comes with the win.
WON = (
    _COMMON
    + """
local state = redis.call('HMGET', key, '@', 'i', 'h' .. ARGV[3])
if state[1] then return state[1] end
local hold = state[3]
if hold then
  hold = string.sub(hold, 1, 26) .. '1' .. string.sub(hold, 28)
elseif ARGV[4] == '' or is_shown(opened(state[2]), ARGV[4]) then
  return 1
else
  hold = ARGV[4]
end
redis.call('HSET', key, 'h' .. ARGV[3], hold)
seen(ARGV[1])
live(ARGV[2])
return 1
"""
)

# ARGV: now, ms that counts stay, then bids. Their holds have ended: what was won was shown, as far as anybody can tell;
# what nobody spoke of was not.
RIPEN = (
    _COMMON
    + """
if redis.call('HEXISTS', key, '@') == 1 then return redis.call('HGET', key, '@') end
local shown, changed = opened(redis.call('HGET', key, 'i')), false
for at = 3, #ARGV do
  local hold = redis.call('HGET', key, 'h' .. ARGV[at])
  if hold and string.sub(hold, 1, 13) <= ARGV[1] then
    if string.sub(hold, 27, 27) == '1' then
      show_hold(shown, hold, tonumber(string.sub(hold, 14, 26)))
      changed = true
    end
    redis.call('HDEL', key, 'h' .. ARGV[at])
  end
end
if changed then
  put_shown(shown)
  live(ARGV[2])
end
return 1
"""
)

# KEYS: u, p. ARGV: now, ms that the profile is kept, valid until, first seen, how many segments, the segments that come
# beside those that are there, the interests (none: they stay as they are).
PROFILE = """
local alias = redis.call('HGET', KEYS[1], '@')
if alias then return alias end
local old = redis.call('GET', KEYS[2])
local ends, first, segments, interests, there = tonumber(ARGV[3]), tonumber(ARGV[4]), {}, {}, {}
if old then
  old = cmsgpack.unpack(old)
  if old[2] < first then first = old[2] end
  if old[1] > tonumber(ARGV[1]) then
    segments, interests = old[3], old[4]
    if old[1] > ends then ends = old[1] end
  end
end
for _, segment in ipairs(segments) do there[segment] = true end
local last = 5 + tonumber(ARGV[5])
for at = 6, last do
  if not there[ARGV[at]] then
    there[ARGV[at]] = true
    segments[#segments + 1] = ARGV[at]
  end
end
if #ARGV > last then
  interests = {}
  for at = last + 1, #ARGV do interests[at - last] = tonumber(ARGV[at]) end
end
local ttl, left = tonumber(ARGV[2]), redis.call('PTTL', KEYS[2])
if left > ttl then ttl = left end
redis.call('SET', KEYS[2], cmsgpack.pack({ends, first, segments, interests}), 'PX', string.format('%.0f', ttl))
return 1
"""

# ARGV: canonical token, ms that the alias stays. Makes this an alias; returns all that was here, for MERGE.
ALIAS = """
local state = redis.call('HGETALL', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], '@', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return state
"""

# KEYS: u, p. ARGV as of ALIAS. Makes this an alias where nothing at all is here; returns whether it did.
ADOPT = """
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
redis.call('HSET', KEYS[1], '@', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

# ARGV: ms that counts stay, then the fields and values of an alias. Adds them to what is here.
MERGE = (
    _COMMON
    + f"""
local alias = redis.call('HGET', key, '@')
if alias then return alias end
local shown, changed = opened(redis.call('HGET', key, 'i')), false
for at = 2, #ARGV, 2 do
  if ARGV[at] == 'i' then
    changed = true
    for entity, list in pairs(cmsgpack.unpack(ARGV[at + 1])) do
      for of = 1, #list, 2 do show(shown, entity, list[of], list[of + 1], {MAX_TIMES}) end
    end
  end
end
for at = 2, #ARGV, 2 do
  local field, value = ARGV[at], ARGV[at + 1]
  local kind = string.sub(field, 1, 1)
  if kind == 'n' or (kind == 'h' and not is_shown(shown, value)) then
    redis.call('HSETNX', key, field, value)
  elseif field == 'f' or field == 'l' then
    local own = redis.call('HGET', key, field)
    if not own or (field == 'f' and value < own) or (field == 'l' and value > own) then
      redis.call('HSET', key, field, value)
    end
  end
end
if changed then put_shown(shown) end
live(ARGV[1])
return 1
"""
)


class Script:
    """A script's text, and calls of it as RESP."""

    def __init__(self, text: str, when_full: bool = False) -> None:
        """`when_full`: it may write when Redis takes nothing new any more."""
        self.text = (f"{'#!lua flags=allow-oom' if when_full else ''}\n{text.strip()}").strip().encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()

    def call(self, keys: tuple[bytes, ...], *arguments: bytes) -> bytes:
        parts = [b"$%d\r\n%b\r\n" % (len(part), part) for part in (*keys, *arguments)]
        head = b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n%d\r\n" % (3 + len(parts), self.sha, len(keys))
        return head + b"".join(parts)


# What became of bids is told also to a Redis that is full: money waits for it.
confirm, release, won, ripen = (Script(text, when_full=True) for text in (CONFIRM, RELEASE, WON, RIPEN))
profile, alias, adopt, merge = Script(PROFILE), Script(ALIAS), Script(ADOPT), Script(MERGE)
ALL = (confirm, release, won, ripen, profile, alias, adopt, merge)
