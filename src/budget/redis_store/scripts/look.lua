-- An agent's standing in a pool.
--
-- KEYS     the installation's six; the resource; the order and the places of the gate `pool`
-- returns  the reply: done; with the agent's view and the pool
-- clock    the server's
function Steps.look(command)
  Ledger.begin()
  local pool = Pool.of(command.resource, ledger, now)
  Pool.refill(pool, ledger, caps.headroom, now)
  return Ledger.reply({ 'done' }, Ledger.view(pool, command.share), pool)
end
