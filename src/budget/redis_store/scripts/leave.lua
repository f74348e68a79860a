-- A replica stops, or has nothing more to do with the installation.
--
-- KEYS     the installation's six; the resources it knew of
-- ARGV     1: the call as JSON
-- returns  the reply: done
-- clock    the server's
Ledger.begin()
redis.call('ZREM', REPLICAS, call.stamp.replica)
local reply = Ledger.finish({ 'done' })
keep_for_a_while()
return reply
