-- Uses an approval. A script, because checking and recording must be one step for all replicas.
--
-- KEYS[2]  the approval: holds the request that used it
-- ARGV[2]  the request that uses it; if the same request asks again, it gets the same answer
-- ARGV[3]  when the approval was issued, ARGV[4] when it expires: epoch seconds
-- returns  1 it is used now, 0 it was used before, -1 it is older than the memory
local known = redis.call('GET', KEYS[2])
if known then
  return known == ARGV[2] and 1 or 0
end
if tonumber(ARGV[3]) < since then
  return -1
end
-- Kept for ten minutes longer than it lives by any clock.
local expires = tonumber(ARGV[4])
local lives = math.max(expires - tonumber(time[1]), expires - tonumber(ARGV[3])) + 600
redis.call('SET', KEYS[2], ARGV[2], 'EX', lives)
return 1
