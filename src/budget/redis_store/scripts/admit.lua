-- Whether a call may go now: stops first, then clocks, then gates; see ledger/admit.rs.
--
-- A lease that is known is granted again: the reply to an earlier attempt was lost. A script,
-- because asking and granting must be one step.
--
-- KEYS     the installation's six; the call's resource; the order and the places of the gates
--          content, installation, route, pool, and of the route left behind, if there is one
-- returns  the reply: granted PRICE WOULD | wait HINT_MS STEP_MS REASON HAS_PLACE |
--          refused RETRY_AFTER_S REASON; with the agent's view and the pool
-- clock    the server's
do
  local SPACING_MS, SPACING_SLACK_MS = 1000, 10000
  local GUARANTEE_AHEAD_MS = 600000
  local ROUTE_DEPTH = 40 * U

  local ORDER = { 'content', 'route', 'installation', 'pool' }
  -- What is asked for, and what was found for it.
  local admit, share, place, route_cap, spacing_name
  local pool, gates, weighed

  local function take_up(command)
    admit = command
    share, place = admit.share, admit.place
    route_cap = admit.is_graphql and caps.graphql or caps.route
    spacing_name = admit.is_write and admit.repository and share.agent .. '/' .. admit.repository
  end

  -- Everything the usual path looks at, in few reads.
  local function read_ahead()
    Hash.fetch(BEGINNING, { 'ledger', 'ring:all' })
    local known = { resource = place.resource }
    Hash.fetch(STATE, {
      Pool.field(place.resource), Gate.field('installation'), Gate.field('content'),
      Gate.field('pool:' .. place.resource), Gate.field(Ledger.route_name(place.route)),
      Ledger.ring_field(place.route), Lease.field(admit.lease), Lease.agent_field(share.agent),
      Pool.member_field(known, share.agent), Pool.unpriced_field(known, share.agent),
    })
  end

  local function read_ahead_at_gates()
    local fields = {}
    for _, kind in ipairs(ORDER) do
      local gate = gates[kind]
      fields[#fields + 1] = Gate.tag_field(gate, share.agent)
      if gate.heads > 0 then fields[#fields + 1] = Gate.head_field(gate, place.head) end
    end
    Hash.fetch(STATE, fields)
  end

  -- Fills every bucket that the call may need.
  local function prepare()
    pool = Pool.of(place.resource, ledger, now)
    gates = { pool = Pool.gate(pool), installation = Ledger.installation_gate(), content = Ledger.content_gate() }
    gates.route = Ledger.route_gate(place.route)
    read_ahead_at_gates()
    Pool.refill(pool, ledger, caps.headroom, now)
    if now < ledger.silent_to then Gate.pause(gates.installation, now) end
    local depth = clamp(div(Ledger.learned(), 10), 8, 40) * U
    Gate.fill(gates.installation, now, div(ledger.scale(Ledger.learned() * U), 68), depth)
    Gate.fill(gates.route, now, div(ledger.scale(route_cap * U), 68), ROUTE_DEPTH)
    if admit.creates_content then
      -- 360 an hour, 120 deep, at the default cap of 470.
      local rate = div(div(360 * U, 3600) * caps.content_hour, 470)
      Gate.fill(gates.content, now, ledger.scale(rate), div(120 * U * caps.content_hour, 470))
    end
    if share.ceiling ~= 0 then Pool.see(pool, share, now) end
  end

  local function holds_somebody(gate) return gate.held > 0 or gate.booked > 0 end

  -- Sets the price and fair units, and which gates are asked.
  local function weigh()
    local average = Pool.member(pool, share.agent).average
    local price = clamp(admit.price or max(1, div_ceil(average, 1000)), 0, Pool.price_max(pool, caps.headroom))
    -- Of what this ledger may give.
    local function is_half(count, cap) return 2 * count * U >= ledger.scale(cap * U) end
    local is_crowded = Lease.count() * 2 >= Ledger.slots() or is_half(Ring.sum(Ledger.all_ring(), now), Ledger.learned())
    -- Gates that are half full: a head held at a later gate keeps its place at these.
    local half_full = {
      content = admit.creates_content,
      route = is_half(Ring.sum(Ledger.route_ring(place.route), now), route_cap),
      installation = is_crowded or Ledger.learned() < caps.all,
      pool = pool.known == 1,
    }
    weighed = {
      price = price,
      units = max(price * U, KAPPA * admit.points),
      content = half_full.content,
      -- Nobody passes a head that is held.
      route = half_full.route or holds_somebody(gates.route),
      installation = half_full.installation or holds_somebody(gates.installation),
      pool = half_full.pool,
      half_full = half_full,
      guarantee = 0,
      ceiling = 0,
      is_due = false,
      is_unpriced = not admit.price and average == 0,
    }
  end

  local function stop(wait_ms, reason) return { wait_ms = max(1, wait_ms), reason = reason } end

  local function ring_full()
    local function full(ring, count, cap)
      if Ring.sum(ring, now) + count > cap then return Ring.wait_for(ring, now, max(0, cap - count)) end
    end
    local wait = full(Ledger.route_ring(place.route), admit.points, route_cap)
      or full(Ledger.all_ring(), admit.points, Ledger.learned())
    if wait then return stop(min(5000, wait), 'ring') end
    if not admit.creates_content then return nil end
    wait = full(Ledger.content_minute_ring(), 1, caps.content_minute) or full(Ledger.content_hour_ring(), 1, caps.content_hour)
    return wait and stop(wait, 'content')
  end

  local function spaced()
    local next_at = spacing_name and redis.call('ZSCORE', SPACING, spacing_name)
    local wait = next_at and tonumber(next_at) - now - SPACING_SLACK_MS or 0
    return wait > 0 and stop(wait, 'spacing') or nil
  end

  -- The first stop that applies.
  local function stopped()
    local opens_at = ledger.epoch + ledger.pause_ms
    if now < opens_at and opens_at > ledger.silent_to then return stop(opens_at - now, 'start') end
    if now < ledger.silent_to then return stop(ledger.silent_to - now + div(admit.random, 2), 'cooldown') end
    local boxed_to = Cooldown.boxed_to(share.agent)
    if boxed_to > now then return stop(boxed_to - now, 'box') end
    if ledger.trial_calls > 0 then
      local is_first = ledger.trial_since == ledger.silent_to
      local is_spent = Trial.is_spent(ledger, now)
      if is_spent or (admit.is_write and is_first and now < ledger.silent_to + 5000) then
        return stop(500, 'trial')
      end
    end
    if pool.trial_calls > 0 and Trial.is_spent(pool, now) then
      return stop(now < pool.trial_since + 1000 and 100 or 500, 'unknown')
    end
    -- The first one tells what they cost; a burst of them could exceed the limit.
    if weighed.is_unpriced and Pool.unpriced(pool, share.agent) > 0 then return stop(100, 'unknown') end
    if pool.known == 1 and pool.left < weighed.price then
      local to_reset = Pool.to_next_window_ms(pool, now)
      local wait = to_reset
      if pool.trial_calls > 0 then
        wait = 500
      elseif pool.in_flight > 0 and to_reset > 7000 then
        wait = 5000
      end
      return stop(wait, 'exhausted')
    end
    local held = ring_full() or spaced()
    if held then return held end
    if share.ceiling == 0 then return stop(max(60000, Pool.to_next_window_ms(pool, now)), 'closed') end
  end

  local function leave_all()
    for _, kind in ipairs(ORDER) do Gate.leave(gates[kind], place.head) end
  end

  local function set_rates() weighed.guarantee, weighed.ceiling = Ledger.rates_of(share, pool) end

  -- Sets whether the guarantee is behind.
  local function set_clocks()
    if weighed.guarantee == 0 then return end
    local member = Pool.member_for(pool, share.agent)
    member.guaranteed_to = max(member.guaranteed_to, now - div(2 * U * 1000, weighed.guarantee))
    weighed.is_due = member.guaranteed_to <= now
  end

  -- Milliseconds between two of the agent's turns: what its ceiling leaves, and what its guarantee pays for.
  local function ceiling_apart_ms() return weighed.ceiling > 0 and div(weighed.units * 1000, weighed.ceiling) or 0 end
  local function guaranteed_apart_ms()
    return weighed.guarantee > 0 and div(weighed.units * 1000, weighed.guarantee) or HUGE
  end

  local function ask_of(kind)
    local charge, need, express = div(weighed.units, share.weight), admit.points * U, 0
    if kind == 'content' then charge, need = div(U, share.weight), U else express = Pool.express(pool) end
    if kind == 'pool' then need = weighed.price * U end
    return {
      agent = share.agent, head = place.head, weight = share.weight, charge = charge, need = need,
      is_interactive = admit.is_interactive, is_due = weighed.is_due and kind == 'pool', express = express, now = now,
      least_ms = ceiling_apart_ms(), most_ms = kind == 'pool' and guaranteed_apart_ms() or HUGE,
      ends_at = kind == 'pool' and now + Pool.to_next_window_ms(pool, now) or HUGE, next_rate = pool.next_rate,
      pace = kind == 'pool' and pool.pace or 0, wanting = kind == 'pool' and Pool.wanting(pool, share) or nil,
    }
  end

  -- How many slots are missing for this head and those before it. A tenth is left to light heads,
  -- and to agents with less than their share of the slots.
  local function slots_missing(tested)
    local all, own = Ledger.slots(), Lease.of_agent(share.agent)
    local is_under = own * Pool.weights(pool) < all * share.weight
    local usable = (tested.is_light or is_under) and all or all - div(all, 10)
    return 1 + tested.ahead - (usable - Lease.count())
  end

  local function ask_gates()
    for position, kind in ipairs(ORDER) do
      if weighed[kind] then
        local tested = Gate.test(gates[kind], ask_of(kind))
        local missing = kind == 'installation' and slots_missing(tested) or 0
        if tested.short > 0 or missing > 0 then
          local wait_ms = max(tested.wait_ms, min(2000, missing * 100), 1)
          if kind == 'pool' and weighed.guarantee > 0 and not weighed.is_due then
            wait_ms = min(wait_ms, Pool.member_for(pool, share.agent).guaranteed_to - now + 1)
          end
          for later = position + 1, #ORDER do Gate.leave(gates[ORDER[later]], place.head) end
          return { wait_ms = wait_ms, reason = 'turn:' .. kind, gate = kind, position = position }
        end
      end
    end
  end

  local function decide()
    weigh()
    set_rates()
    local held = stopped()
    if held then
      leave_all()
      return held
    end
    set_clocks()
    if weighed.ceiling > 0 then
      local member = Pool.member_for(pool, share.agent)
      member.ceiling_to = max(member.ceiling_to, now - CEILING_SLACK_MS)
      if member.ceiling_to > now then
        leave_all()
        return stop(member.ceiling_to - now, 'ceiling')
      end
    end
    return ask_gates()
  end

  local function charge_clocks()
    if weighed.guarantee > 0 then Gate.hold_near(gates.pool, share.agent, div(20 * U, share.weight)) end
    local member = Pool.member_for(pool, share.agent)
    if weighed.guarantee > 0 then
      local paid_to = member.guaranteed_to + div(weighed.units * 1000, weighed.guarantee)
      member.guaranteed_to = min(paid_to, now + GUARANTEE_AHEAD_MS)
    end
    if weighed.ceiling > 0 then
      member.ceiling_to = max(member.ceiling_to, now - CEILING_SLACK_MS)
        + div(weighed.units * 1000, weighed.ceiling)
    end
  end

  local function count_sent()
    Ring.add(Ledger.route_ring(place.route), now, admit.points)
    Ring.add(Ledger.all_ring(), now, admit.points)
    if admit.creates_content then
      Ring.add(Ledger.content_minute_ring(), now, 1)
      Ring.add(Ledger.content_hour_ring(), now, 1)
    end
    if spacing_name then
      local next_at = tonumber(redis.call('ZSCORE', SPACING, spacing_name) or now)
      redis.call('ZADD', SPACING, max(next_at, now) + SPACING_MS, spacing_name)
    end
  end

  local function grant(would)
    for _, kind in ipairs(ORDER) do
      local ask, debt = ask_of(kind), kind == 'pool' and Pool.debt(pool) or DEBT
      if weighed[kind] then
        local has_waited = Gate.serve(gates[kind], ask, debt)
        -- Whoever is let through at once, and has nobody who was told a time, wants no more than it gets.
        if kind == 'pool' and not has_waited and Gate.kept_of(gates.pool, share.agent) == 0 then
          Pool.set_wants(pool, share.agent, false)
        end
      elseif kind ~= 'content' and not (kind == 'pool' and pool.known == 0) then
        Gate.leave(gates[kind], place.head)
        Gate.take(gates[kind], ask.need, debt)
      end
    end
    charge_clocks()
    count_sent()
    Trial.take(pool, now)
    Trial.take(ledger, now)
    pool.in_flight = pool.in_flight + weighed.price
    pool.left = pool.left - weighed.price
    if weighed.is_unpriced then Pool.add_unpriced(pool, share.agent, 1) end
    local function flag(value) return value and 1 or 0 end
    Lease.insert(admit.lease, {
      resource = place.resource, route = place.route, agent = share.agent, weight = share.weight,
      price = weighed.price, points = admit.points, creates_content = flag(admit.creates_content),
      units = weighed.units, window = pool.window, at = now, asked_content = flag(weighed.content),
      asked_route = flag(weighed.route), asked_installation = flag(weighed.installation),
      asked_pool = flag(weighed.pool), guarantee = weighed.guarantee, ceiling = weighed.ceiling,
      is_unpriced = flag(weighed.is_unpriced), is_settled = 0,
    }, now)
    return { 'granted', weighed.price, would or '' }
  end

  -- Books a time for a caller that does not wait as long. Returns whole seconds from now.
  local function book_for(held, step_ms)
    local to_next_window_ms = Pool.to_next_window_ms(pool, now)
    -- Of a window that is spent, the next turn is the next one's. Whoever may have none holds none up.
    local is_over = held.reason == 'exhausted' and held.wait_ms >= to_next_window_ms and share.ceiling ~= 0
    -- Whom its ceiling holds needs a turn like all others once it does not.
    local is_capped = held.reason == 'ceiling' and weighed.pool
    local kind, at, is_later = held.gate or (is_over or is_capped) and 'pool' or nil, nil, false
    if kind then
      local is_pool = kind == 'pool'
      local is_sure = is_pool and weighed.guarantee > 0
      at, is_later = Gate.book(gates[kind], ask_of(kind), {
        opens_at = held.gate and now or now + held.wait_ms,
        sure_at = is_sure and Pool.member_for(pool, share.agent).guaranteed_to + 1 or HUGE,
      })
    end
    if at then
      Pool.expect(pool, share, at, now)
      return max(1, div_ceil(at - now, 1000))
    end
    local fresh_ms = ends_with_window(held.reason)
      and max(ceiling_apart_ms(), min(guaranteed_apart_ms(), Pool.fresh_step_ms(pool, share)))
    if is_later then return book(pool, share, max(held.wait_ms, to_next_window_ms), 0, fresh_ms) end
    return book(pool, share, held.wait_ms, step_ms, fresh_ms)
  end

  -- Lets a call wait with its places, or refuses it with a booking.
  local function hold(held)
    if held.reason == 'closed' then
      leave_all()
      return { 'refused', div_ceil(held.wait_ms, 1000), held.reason }
    end
    -- What else holds it says nothing of the pool.
    if held.reason == 'turn:pool' or held.reason == 'exhausted' then
      Pool.set_wants(pool, share.agent, true)
    elseif held.reason == 'ceiling' then
      Pool.set_wants(pool, share.agent, false)
    end
    -- Time between two turns of the agent: by its weight or its guarantee, at least what its ceiling leaves.
    local step_ms = ceiling_apart_ms()
    if held.gate or pool.known == 1 then
      local kind = held.gate or 'pool'
      local turn = min(60000, div(ask_of(kind).need * 1000, gates[kind].rate))
      step_ms = max(step_ms, min(guaranteed_apart_ms(), div(turn * Pool.weights(pool), share.weight)))
    end
    if held.gate == 'pool' then held.wait_ms = min(held.wait_ms, Pool.to_next_window_ms(pool, now)) end
    -- Whoever has a turn within its patience waits for it, whatever lies before it now.
    local own_ms = held.gate == 'pool' and Pool.turns_apart_ms(pool, share, weighed.price * U) or HUGE
    if min(held.wait_ms, own_ms) > admit.patience_ms then
      leave_all()
      return { 'refused', book_for(held, step_ms), held.reason }
    end
    local hint = held.wait_ms + div(held.wait_ms * admit.random, 20000) + 1
    if held.gate and held.wait_ms > 3000 then hint = max(3000, div(held.wait_ms * 4, 5)) end
    -- A call asks for the last time when its caller's patience ends.
    hint = clamp(min(hint, admit.patience_ms), 4, 60000)
    for position = 1, held.position or 0 do
      local kind = ORDER[position]
      local is_held = position == held.position
      if is_held or weighed.half_full[kind] then
        Gate.join(gates[kind], ask_of(kind), is_held, now, hint + 1000)
      else
        Gate.leave(gates[kind], place.head)
      end
    end
    return { 'wait', hint, step_ms, held.reason, held.gate and 1 or 0 }
  end

  local function outcome()
    local lease = Lease.of(admit.lease)
    if lease then return { 'granted', lease.price, '' } end
    local left = admit.left_route and Gate.of(Ledger.route_name(admit.left_route))
    if left then Gate.leave(left, place.head) end
    local held = decide()
    if not held then return grant() end
    if not admit.is_observing then return hold(held) end
    leave_all()
    return grant(held.reason)
  end

  function Steps.admit(command)
    take_up(command)
    read_ahead()
    Ledger.begin()
    ledger.seq = ledger.seq + 1
    prepare()
    local came_of_it = outcome()
    return Ledger.reply(came_of_it, Ledger.view(pool, share), pool)
  end
end
