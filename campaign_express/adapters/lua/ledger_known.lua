#!lua flags=allow-oom
-- Remember that these advertisers have a ledger, and return all that ever had one. KEYS[1] is the whole key of a set.
--
-- ARGV: ids of advertisers.

for at = 1, #ARGV do
  redis.call('SADD', KEYS[1], ARGV[at])
end
return redis.call('SMEMBERS', KEYS[1])
