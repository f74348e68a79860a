-- Calls still in flight keep their leases for another while.
--
-- KEYS     the installation's six
-- ARGV     1: the call as JSON, the leases in `renew`
-- returns  the reply: done
-- clock    the server's
Ledger.begin()
for _, id in ipairs(call.command.renew) do
  if Lease.of(id) then redis.call('ZADD', EXPIRIES, 'XX', now + LEASE_MS, id) end
end
return Ledger.finish({ 'done' })
