-- A call that was certainly not sent never was; see ledger/settle.rs.
--
-- KEYS     the installation's six; the resource
-- ARGV     1: the call as JSON, `cancel` in it
-- returns  the reply: done
-- clock    the server's
local function cancel(lease)
  Lease.remove(call.command.cancel.lease)
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

Ledger.begin()
local lease = Lease.of(call.command.cancel.lease)
if lease and lease.is_settled == 0 and lease.resource == call.command.cancel.resource then cancel(lease) end
return Ledger.finish({ 'done' })
