-- A replica stops, or no longer deals with the installation.
--
-- KEYS     the installation's six; the resources it knew of
-- returns  the reply: done
-- clock    the server's
function Steps.leave()
  Ledger.begin()
  redis.call('ZREM', REPLICAS, call.stamp.replica)
  afterwards = keep_for_a_while
  return Ledger.reply({ 'done' })
end
