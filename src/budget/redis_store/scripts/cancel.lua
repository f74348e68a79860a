-- Undoes a call that certainly was not sent; see ledger/settle.rs.
--
-- KEYS     the installation's six; the resource
-- returns  the reply: done; with the pool
-- clock    the server's
do
  local function take_back(id, lease)
    Lease.remove(id)
    local route = Gate.of(Ledger.route_name(lease.route))
    if route then
      Ring.take_back(Ledger.route_ring(lease.route), lease.at, lease.points)
      Gate.give_back(route, lease.points * U, 40 * U)
    end
    Gate.give_back(Ledger.installation_gate(), lease.points * U, 40 * U)
    Ring.take_back(Ledger.all_ring(), lease.at, lease.points)
    if lease.creates_content == 1 then
      Ring.take_back(Ledger.content_minute_ring(), lease.at, 1)
      Ring.take_back(Ledger.content_hour_ring(), lease.at, 1)
      Gate.correct(Ledger.content_gate(), lease.agent, -div(U, lease.weight))
      Gate.give_back(Ledger.content_gate(), U, 120 * U)
    end
    Trial.give_back(ledger)
    local pool = Pool.find(lease.resource)
    if pool then
      Lease.take_back(lease)
      Pool.correct_bucket(pool, lease.price, 0)
      Trial.give_back(pool)
      correct_units(lease, -lease.units)
    end
  end

  function Steps.cancel(command)
    Ledger.begin()
    local lease = Lease.of(command.lease)
    local is_open = lease and lease.is_settled == 0 and lease.resource == command.resource
    if is_open then take_back(command.lease, lease) end
    return Ledger.reply({ 'done' }, nil, Pool.find(command.resource))
  end
end
