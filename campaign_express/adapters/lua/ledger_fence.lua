-- ARGV: nothing to ask, or to open: the run_id that the caller believes in, and wall_ms from which there are grants. A
-- later time that was set before stays, unless it is -1: open at once, nothing is outstanding.
-- Returns {run_id of this node, fence, opens_ms, 1 if nothing was ever booked, 1 while it is rebuilt, 1 if opened}.

local here, opened = run_id(), 0
if ARGV[1] and ARGV[1] == here then
  local from, before = tonumber(ARGV[2]), tonumber(redis.call('HGET', key('fence'), 'opens_ms') or 0)
  from = from < 0 and 0 or math.max(from, before)
  redis.call('HSET', key('fence'), 'run_id', here, 'opens_ms', text(from))
  redis.call('HDEL', key('fence'), 'rebuilding')
  opened = 1
end
local fence = redis.call('HMGET', key('fence'), 'run_id', 'opens_ms', 'rebuilding')
local empty = redis.call('EXISTS', key('total'), key('flows'), key('marks'), key('hours'), key('lost')) == 0
return { here, fence[1] or '', tonumber(fence[2] or 0), empty and 1 or 0, fence[3] and 1 or 0, opened }
