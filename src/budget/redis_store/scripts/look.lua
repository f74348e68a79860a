-- How an agent stands in a pool.
--
-- KEYS     the installation's six; the resource; the order and the places of the gate `pool`
-- ARGV     1: the call as JSON, `look` in it
-- returns  the reply: done; with the agent's view and the pool
-- clock    the server's
Ledger.begin()
local pool = Pool.of(call.command.look.resource, ledger, now)
Pool.refill(pool, ledger, caps.headroom, now)
return Ledger.finish({ 'done' }, Ledger.view(pool, call.command.look.share), pool)
