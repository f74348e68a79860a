-- The outcome of a call: its true cost, what GitHub's headers say, and refusals; see
-- ledger/settle.rs.
--
-- A lease settles once; if the step is repeated, only the headers count. A script, because the
-- reservation, the pool and the agents' tags must change together.
--
-- KEYS     the installation's six; the call's resource and the one the headers name, if another; the
--          order and the places of the gate `pool`
-- returns  the reply: settled COST; with the agent's view and the pool
-- clock    the server's
do
  local UNTOLD_PAUSE_MS, PAUSE_MAX_MS, RESET_MAX_MS = 60000, 3600000, 86400000
  -- What was reported.
  local settle, share, figures, refused, resource_told

  local function take_up(command)
    settle = command
    share, figures, refused = settle.share, settle.figures, settle.refused
    resource_told = figures and figures.resource or settle.resource
  end

  local function clamped(points) return clamp(points, 0, LIMIT_MAX) end

  -- Takes back the lease's points; its slot stays until the body has ended.
  local function take_lease()
    local lease = Lease.of(settle.lease)
    if not lease or lease.is_settled == 1 then return nil end
    Lease.take_back(lease)
    if settle.has_ended then Lease.remove(settle.lease) else lease.is_settled = 1 end
    return lease
  end

  -- The cost of a call whose answer does not state it: the rise of GitHub's count, less what other
  -- calls in flight may have added.
  local function inferred_cost(lease, counted_before, in_flight)
    if refused then return 0 end
    if not figures or lease.resource ~= 'graphql' then return lease.price end
    local risen = clamped(figures.used) - counted_before
    if in_flight > 0 then return clamp(risen - div(in_flight, 2), 1, max(10, 4 * lease.price)) end
    if lease.price == 0 or risen > 0 then return max(1, risen) end
    return lease.price
  end

  -- Charges the call's cost in place of what was reserved.
  local function charge(lease, cost)
    local pool = Pool.of(lease.resource, ledger, now)
    if lease.window == pool.window then
      Pool.spend(pool, lease.agent, cost)
      Pool.correct_bucket(pool, lease.price, cost)
    end
    if lease.resource == 'graphql' and not refused and cost > 0 then
      local member = Pool.member_for(pool, lease.agent)
      local before = member.average == 0 and cost * 1000 or member.average
      member.average = before + div(cost * 1000 - before, 10)
      Pool.remember_dear(pool, cost - lease.price, now)
      local gate = Pool.gate(pool)
      gate.avg = gate.avg + div(min(10, cost) * U - gate.avg, 50)
    end
    local units = refused and 0 or max(cost * U, KAPPA * lease.points)
    correct_units(lease, units - lease.units)
  end

  local function was_refused(lease, observed)
    if refused.is_primary and not refused.retry_after_ms then
      if observed == 'late' then return end
      if observed then
        local pool = Pool.of(resource_told, ledger, now)
        pool.used = max(pool.used, pool.limit)
        return
      end
      -- Without figures nobody knows how long.
    end
    local cap = settle.resource == 'graphql' and caps.graphql or caps.route
    local has_route = Gate.of(Ledger.route_name(settle.route))
    Cooldown.hit({
      retry_after_ms = clamp(refused.retry_after_ms or UNTOLD_PAUSE_MS, 1000, PAUSE_MAX_MS),
      all = Ring.sum(Ledger.all_ring(), now),
      is_route_free = not has_route or Ring.sum(Ledger.route_ring(settle.route), now) * 10 < cap * 9,
      leases = Lease.count() + ((lease and settle.has_ended) and 1 or 0),
      sent_at = lease and lease.at,
    })
  end

  -- Everything the usual path looks at, in few reads.
  local function read_ahead()
    local known = { resource = settle.resource }
    Hash.fetch(BEGINNING, { 'ledger', 'ring:all' })
    Hash.fetch(STATE, {
      Pool.field(settle.resource), Pool.field(resource_told), Gate.field('pool:' .. settle.resource),
      Gate.field('installation'), Gate.field(Ledger.route_name(settle.route)), Lease.field(settle.lease),
      Lease.agent_field(share.agent), Pool.member_field(known, share.agent),
    })
  end

  -- Takes over what GitHub's headers say about the pool.
  local function observe(pool)
    if figures then
      local reset_in_ms = clamp(figures.reset_in_ms, -RESET_MAX_MS, RESET_MAX_MS)
      local told = Pool.of(resource_told, ledger, now)
      return Pool.observe(told, clamp(figures.limit, 1, LIMIT_MAX), clamped(figures.used), reset_in_ms, now)
    end
    if not refused then Pool.observe_bare(pool, settle.is_success, now) end
  end

  local function cost_of(lease, counted_before, in_flight)
    if resource_told ~= settle.resource then return 0 end
    if settle.cost then return clamped(settle.cost) end
    return inferred_cost(lease, counted_before, in_flight)
  end

  function Steps.settle(command)
    take_up(command)
    read_ahead()
    Ledger.begin()
    ledger.seq = ledger.seq + 1
    local lease = take_lease()
    local pool = Pool.of(settle.resource, ledger, now)
    local counted_before, in_flight = max(pool.used, pool.own), pool.in_flight
    local observed, cost = observe(pool), 0
    if lease then
      cost = cost_of(lease, counted_before, in_flight)
      charge(lease, cost)
      Cooldown.add_load(lease.agent, settle.elapsed_ms, lease.points)
    end
    Pool.forecast(pool, now)
    if refused then was_refused(lease, observed) else Cooldown.answered(lease and lease.at) end
    Pool.refill(pool, ledger, caps.headroom, now)
    return Ledger.reply({ 'settled', cost }, Ledger.view(pool, share), pool)
  end
end
