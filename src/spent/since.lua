-- Since when this Redis remembers uses of approvals; part of every script about them.
--
-- KEYS[1]  the beginning, as `REPLICATION_ID SECONDS`
-- clock    the server's, or the caller's if that is ahead
-- ARGV[1]  the caller's time, whole epoch seconds
-- sets     `since`: whole epoch seconds; approvals issued before are not accepted
--
-- A server that restarted or took over has another replication id, and may have lost its latest
-- writes: the memory then begins anew, with the next whole second.
local time = redis.call('TIME')
local now = math.max(tonumber(time[1]), tonumber(ARGV[1]))
local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not id then
  return redis.error_reply('ERR tollgate: INFO replication names no master_replid')
end
local known_id, known_since = string.match(redis.call('GET', KEYS[1]) or '', '^(%x+) (%d+)$')
local since = tonumber(known_since)
if known_id ~= id then
  since = now + 1
  redis.call('SET', KEYS[1], id .. ' ' .. since)
end
