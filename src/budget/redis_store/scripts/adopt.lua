-- Takes over what a replica knows and this ledger does not, after the store came back empty or the
-- replica found it again; see ledger/replicas.rs.
--
-- KEYS     the installation's six; the resources in the handover; the order and the places of its
--          routes' gates
-- returns  the reply: done
-- clock    the server's
local function take_over_lease(handed)
  if Lease.of(handed.lease) then return end
  local pool = Pool.of(handed.resource, ledger, now)
  local lease = {
    resource = handed.resource, route = handed.route, agent = handed.share.agent,
    weight = handed.share.weight, price = handed.price, points = handed.points,
    creates_content = handed.creates_content and 1 or 0,
    units = max(handed.price * U, KAPPA * handed.points), window = pool.window, at = handed.at,
    asked_content = 0, asked_route = 0, asked_installation = 0, asked_pool = 0, guarantee = 0, ceiling = 0,
    is_unpriced = 0, is_settled = handed.is_settled and 1 or 0,
  }
  pool.in_flight = pool.in_flight + Lease.reserved(lease)
  Lease.insert(handed.lease, lease, now)
end

function Steps.adopt(handover)
  Ledger.begin()
  for _, snapshot in ipairs(handover.pools) do
    Pool.take_over(Pool.of(snapshot.resource, ledger, now), snapshot, now)
  end
  for _, handed in ipairs(handover.leases) do take_over_lease(handed) end
  Ring.merge(Ledger.all_ring(), handover.sent.all)
  Ring.merge(Ledger.content_minute_ring(), handover.sent.content_minute)
  if now < ledger.epoch + MINUTE_MS then
    -- Writes of the last minute count against the first writes of a new ledger.
    local written = Ring.sum(Ledger.content_minute_ring(), now) * U
    Gate.lower_to(Ledger.content_gate(), max(0, FIRST_WRITES - written))
  end
  Ring.merge(Ledger.content_hour_ring(), handover.sent.content_hour)
  for _, sent in ipairs(handover.sent.routes) do
    Ledger.route_gate(sent[1])
    Ring.merge(Ledger.route_ring(sent[1]), sent[2])
  end
  for _, spent in ipairs(handover.spent) do
    local pool = Pool.of(spent.resource, ledger, now)
    if abs(pool.reset - spent.reset) <= MATCH_MS then Pool.spend(pool, spent.agent, spent.points) end
  end
  if handover.cool > max(ledger.silent_to, now) then
    ledger.silent_to = handover.cool
    Trial.set(ledger, 1, handover.cool)
  end
  return Ledger.reply({ 'done' })
end
