-- Renews the leases of calls still in flight.
--
-- KEYS     the installation's six
-- returns  the reply: done
-- clock    the server's
function Steps.renew(leases)
  Ledger.begin()
  for _, id in ipairs(leases) do
    if Lease.of(id) then redis.call('ZADD', EXPIRIES, 'XX', now + LEASE_MS, id) end
  end
  return Ledger.reply({ 'done' })
end
