-- A pool: one resource's primary points in GitHub's current window, and what it knows of each
-- agent; see ledger/pool.rs. A trial of 0 calls is no trial; a member with `forget_at` 0 was not
-- seen lately. `wanting` is the sum of the weights of members whose `wants` is the pool's `wanting_since`. A version that
-- knows neither drops them from the pool or from members: then counting begins anew.
-- Resource -> its agents by when they are forgotten. The caller names those of each pool it touches.
local seen_of = {}

local Pool, Trial = {}, {}
do
  local POOL = {
    'limit', 'used', 'own', 'in_flight', 'reset', 'reset_before', 'window_ms', 'window', 'began',
    'trial_calls', 'trial_left', 'trial_since', 'trial_every', 'known', 'born', 'outside', 'outside_at',
    'outside_seen', 'dear', 'dear_at', 'odd_reset', 'odd_count', 'odd_since', 'odd_used', 'bare', 'weights',
    'watched_from', 'wanting', 'wanting_since', added = { wanting = 0, wanting_since = 0 },
  }
  local MEMBER = {
    'window', 'weight', 'forget_at', 'spent', 'guaranteed_to', 'ceiling_to', 'booked_to', 'average', 'wants',
    added = { wants = 0 },
  }

  function Trial.set(of, calls, since)
    of.trial_calls, of.trial_left, of.trial_since, of.trial_every = calls, calls, since, 10000
  end
  function Trial.clear(of) Trial.set(of, 0, 0) end
  function Trial.is_spent(of, now)
    if of.trial_left == 0 and now >= of.trial_since + of.trial_every then of.trial_left = of.trial_calls end
    return of.trial_left == 0
  end
  function Trial.take(of, now)
    if of.trial_calls == 0 then return end
    of.trial_left = of.trial_left - 1
    if of.trial_left == 0 then of.trial_since = now end
  end
  function Trial.give_back(of) of.trial_left = min(of.trial_left + 1, of.trial_calls) end

  function Pool.field(resource) return 'resource:' .. resource end
  function Pool.gate(pool) return Gate.of('pool:' .. pool.resource) end

  -- How many of an agent's calls in flight were admitted when nobody knew what such calls cost.
  function Pool.unpriced_field(pool, agent) return 'unpriced:' .. pool.resource .. '|' .. agent end
  function Pool.unpriced(pool, agent) return Hash.get_number(STATE, Pool.unpriced_field(pool, agent)) or 0 end
  function Pool.add_unpriced(pool, agent, by)
    local count = Pool.unpriced(pool, agent) + by
    if count > 0 then
      Hash.put_number(STATE, Pool.unpriced_field(pool, agent), count)
    else
      Hash.put(STATE, Pool.unpriced_field(pool, agent), false)
    end
  end

  function Pool.no_member(window)
    return {
      window = window, weight = 0, forget_at = 0, spent = 0, guaranteed_to = 0, ceiling_to = 0,
      booked_to = 0, average = 0, wants = 0,
    }
  end

  function Pool.is_present(pool, agent, member)
    return member.forget_at > 0 or member.average > 1000 or Pool.unpriced(pool, agent) > 0
      or max(member.booked_to, member.ceiling_to) > pool.began
  end

  -- A member as of the pool's window.
  function Pool.entered(pool, agent, member)
    if member and member.window == pool.window then return member end
    if not member or not Pool.is_present(pool, agent, member) then return Pool.no_member(pool.window) end
    return {
      window = pool.window, weight = member.weight, forget_at = member.forget_at, spent = 0,
      guaranteed_to = min(member.guaranteed_to, pool.began), ceiling_to = member.ceiling_to,
      booked_to = member.booked_to, average = member.average, wants = member.wants,
    }
  end

  -- Whether what is kept of an agent makes no difference any more.
  function Pool.is_void(pool, agent, blob)
    local member = Hash.decode(MEMBER, blob, STATE, agent)
    return member.window ~= pool.window and not Pool.is_present(pool, agent, member)
  end

  function Pool.member_field(pool, agent) return 'member:' .. pool.resource .. '|' .. agent end
  function Pool.raw_member(pool, agent) return Hash.record(MEMBER, STATE, Pool.member_field(pool, agent)) end
  -- `member` is for looking only, `member_for` for changing.
  function Pool.member(pool, agent) return Pool.entered(pool, agent, Pool.raw_member(pool, agent)) end
  function Pool.member_for(pool, agent)
    return Hash.set_record(MEMBER, STATE, Pool.member_field(pool, agent), Pool.member(pool, agent))
  end

  local function wants(pool, member) return member.wants == pool.wanting_since end

  function Pool.see(pool, share, now)
    local member = Pool.member_for(pool, share.agent)
    if wants(pool, member) then pool.wanting = pool.wanting + share.weight - member.weight end
    local forget_at = max(now, member.booked_to) + SEEN_MS
    if member.forget_at > 0 then pool.weights = pool.weights - member.weight end
    if member.forget_at ~= forget_at then redis.call('ZADD', seen_of[pool.resource], forget_at, share.agent) end
    member.forget_at, member.weight = forget_at, share.weight
    pool.weights = pool.weights + share.weight
  end

  function Pool.forget_unseen(pool, now)
    local gone = redis.call('ZRANGEBYSCORE', seen_of[pool.resource], '-inf', now, 'LIMIT', 0, EVICTIONS)
    if #gone == 0 then return end
    redis.call('ZREM', seen_of[pool.resource], unpack(gone))
    for _, agent in ipairs(gone) do
      local member = Pool.raw_member(pool, agent)
      if member and member.forget_at > 0 then
        if wants(pool, member) then pool.wanting, member.wants = pool.wanting - member.weight, 0 end
        pool.weights, member.forget_at = pool.weights - member.weight, 0
      end
    end
  end

  -- Counts an agent as seen until a minute after a time that was kept for it.
  function Pool.expect(pool, share, at, now)
    local member = Pool.member_for(pool, share.agent)
    member.booked_to = max(member.booked_to, at)
    Pool.see(pool, share, now)
  end

  -- Notes whether an agent wants more than it gets.
  function Pool.set_wants(pool, agent, does)
    local member = Pool.member_for(pool, agent)
    if member.forget_at == 0 or wants(pool, member) == does then return end
    pool.wanting = pool.wanting + (does and member.weight or -member.weight)
    member.wants = does and pool.wanting_since or 0
  end

  -- The weights of those who want more than they get, and of who asks.
  function Pool.wanting(pool, share)
    return pool.wanting + (wants(pool, Pool.member(pool, share.agent)) and 0 or share.weight)
  end

  -- Milliseconds between two turns of an agent that need so much, by the weights of those who want turns.
  function Pool.turns_apart_ms(pool, share, need)
    return div(Gate.turn_ms(need, Pool.gate(pool).rate) * Pool.wanting(pool, share), share.weight)
  end

  function Pool.debt(pool) return max(8, div(pool.limit, 200)) * U end
  function Pool.express(pool) return min(8, div(pool.limit, 10)) * U end
  -- Milliseconds until the next window, which has points for all.
  function Pool.to_next_window_ms(pool, now) return max(1, pool.reset + GUARD_MS - now) end
  function Pool.weights(pool) return max(1, pool.weights) end
  -- Milliseconds between two turns of an agent in the next window.
  function Pool.fresh_step_ms(pool, share)
    return div(Gate.turn_ms(Pool.gate(pool).avg, pool.next_rate) * Pool.weights(pool), share.weight)
  end

  function Pool.head_start(pool, now)
    if now >= pool.watched_from and redis.call('ZCARD', seen_of[pool.resource]) <= 1 then
      return min(max(5, div(pool.limit, 100)), div(pool.limit, 4)) * U
    end
    if pool.window == 1 then return clamp(Pool.gate(pool).tok, 0, 5 * U) end
    return min(5, div(pool.limit, 4)) * U
  end

  function Pool.roll_over(pool, now)
    pool.reset_before, pool.reset = pool.reset, now + pool.window_ms
    pool.used, pool.own, pool.outside_seen, pool.outside_at = 0, 0, 0, now
    pool.window = pool.window + 1
    pool.odd_reset, pool.odd_count, pool.odd_since, pool.odd_used = 0, 0, 0, 0
    pool.began = now
    Gate.restart(Pool.gate(pool), now, Pool.head_start(pool, now))
    Trial.set(pool, clamp(div(pool.limit, 4), 1, 20), now)
  end

  -- The pool, if its resource has been seen before.
  function Pool.find(resource)
    local pool = Hash.record(POOL, STATE, Pool.field(resource))
    if pool then pool.resource = resource end
    return pool
  end

  -- The pools begun in this step.
  local begun
  function Pool.begin_step() begun = {} end

  function Pool.of(resource, ledger, now)
    local pool = Pool.find(resource)
    if not pool then
      pool = {
        resource = resource, limit = LIMIT_UNTOLD, used = 0, own = 0, in_flight = 0, reset = now + HOUR_MS,
        reset_before = -HOUR_MS, window_ms = HOUR_MS, window = 1, began = now, known = 0, born = now,
        outside = 0, outside_at = now, outside_seen = 0, dear = 0, dear_at = now, odd_reset = 0,
        odd_count = 0, odd_since = 0, odd_used = 0, bare = 0, weights = 0, wanting = 0, wanting_since = now,
        watched_from = ledger.pause_ms > 0 and ledger.epoch + SEEN_MS or 0,
      }
      Trial.set(pool, 1, 0)
      Hash.set_record(POOL, STATE, Pool.field(resource), pool)
      redis.call('DEL', seen_of[resource])
    end
    if pool.wanting_since == 0 or pool.wanting > pool.weights then
      pool.wanting, pool.wanting_since = 0, max(now, pool.wanting_since + 1)
    end
    if not Pool.gate(pool) then Gate.new('pool:' .. resource, 0, now) end
    if not begun[resource] then
      begun[resource] = true
      Pool.forget_unseen(pool, now)
      if pool.known == 1 and now >= pool.reset + GUARD_MS then
        Pool.roll_over(pool, now)
      elseif pool.known == 0 then
        pool.reset = now + pool.window_ms
      end
    end
    return pool
  end

  function Pool.kept(pool, left_ms, headroom)
    local few = min(div_ceil(pool.limit, 50), 3, pool.limit - 1)
    local melting = div(min(60, div(pool.limit, 250)) * min(60000, left_ms), 60000)
    return max(few, pool.dear, melting) + div(headroom * pool.limit, 1000)
  end

  function Pool.price_max(pool, headroom) return max(1, pool.limit - Pool.kept(pool, 0, headroom)) end

  function Pool.depth(pool)
    local burst = min(Pool.gate(pool).rate * min(30, div(pool.window_ms, 4000)), 2 * LIMIT_MAX * U)
    return max(burst, min(8, div(pool.limit, 10)) * U, div(pool.limit, 100) * U)
  end

  -- Micro-points a second in a window of which nothing is spent.
  local function rate_of_a_window(pool, headroom)
    local points = max(1, pool.limit - Pool.kept(pool, pool.window_ms, headroom))
    local rate = div(points * U * 1000, pool.window_ms)
    return max(rate - pool.outside, div(rate, 10))
  end

  function Pool.refill(pool, ledger, headroom, now)
    local gate = Pool.gate(pool)
    if pool.known == 0 then
      pool.left, gate.rate, pool.pace, pool.next_rate = 1, U, U, U
      return
    end
    while pool.dear > 0 and now >= pool.dear_at + 60000 do
      pool.dear, pool.dear_at = div(pool.dear, 2), pool.dear_at + 60000
    end
    local left_ms = max(1000, pool.reset - now)
    pool.left = pool.limit - max(pool.used, pool.own) - pool.in_flight - Pool.kept(pool, left_ms, headroom)
    local rate = div((pool.left * U - max(0, gate.tok)) * 1000, left_ms) - pool.outside
    if pool.left > 0 then rate = max(rate, div(pool.left * U * 100, left_ms)) end
    rate = max(1, ledger.scale(max(1, rate)))
    pool.pace = ledger.scale(max(0, div(max(0, pool.left) * U * 1000, left_ms) - pool.outside))
    pool.next_rate = max(1, ledger.scale(rate_of_a_window(pool, headroom)))
    if now < ledger.silent_to then Gate.pause(gate, now) end
    gate.rate = rate
    for _, agent in ipairs(Gate.fill(gate, now, rate, Pool.depth(pool))) do Pool.set_wants(pool, agent, false) end
    if pool.left <= 0 then gate.tok = min(gate.tok, 0) end
  end

  -- A resource's limit and window, if GitHub names none.
  local function untold(resource)
    if resource == 'search' then return 30, MINUTE_MS end
    if resource == 'code_search' then return 10, MINUTE_MS end
    return LIMIT_UNTOLD, HOUR_MS
  end

  function Pool.set_figures(pool, limit, used, reset, now)
    pool.limit, pool.used, pool.reset = limit, used, reset
    -- What is left of a window tells nothing of its length, but its end does: it begins with the first call after the
    -- one before.
    local apart = reset - pool.reset_before
    if reset - now > MINUTE_MS + MATCH_MS then
      pool.window_ms = HOUR_MS
    elseif apart >= 1 and apart < HOUR_MS / 2 then
      pool.window_ms = MINUTE_MS
    end
    pool.outside_seen, pool.outside_at = used - pool.own, now
  end

  -- Takes over what GitHub says; returns 'late', 'current' or 'odd'.
  function Pool.observe(pool, limit, used, reset_in_ms, now)
    pool.bare = 0
    local reset = now + reset_in_ms
    if pool.known == 1 and reset <= pool.reset_before + MATCH_MS then return 'late' end
    if pool.known == 0 or pool.trial_calls > 0 then
      local is_first = pool.known == 0
      pool.known = 1
      Trial.clear(pool)
      if is_first then
        local is_hourly = pool.resource == 'graphql' or reset_in_ms > MINUTE_MS
        pool.window_ms = is_hourly and HOUR_MS or MINUTE_MS
      end
      Pool.set_figures(pool, limit, used, reset, now)
      if is_first then
        pool.born = now
        Gate.restart(Pool.gate(pool), now, Pool.head_start(pool, now))
      end
      return 'current'
    end
    if pool.used == 0 and reset > pool.reset then
      -- Until GitHub has counted something, the window is not open and its end keeps moving.
      pool.limit, pool.used, pool.reset = limit, used, reset
      return 'current'
    end
    if abs(reset - pool.reset) <= MATCH_MS then
      pool.used, pool.limit = max(pool.used, used), limit
      pool.odd_reset, pool.odd_count, pool.odd_since, pool.odd_used = 0, 0, 0, 0
      -- The guard covers differences by rounding; beyond it, the later end is the safe one.
      if reset > pool.reset + GUARD_MS then pool.reset = reset end
      return 'current'
    end
    local before, most = pool.reset_before, nil
    if not (reset > pool.reset and now >= pool.reset - MATCH_MS) then
      if abs(pool.odd_reset - reset) > MATCH_MS or now > pool.odd_since + 30000 then
        pool.odd_reset, pool.odd_count, pool.odd_since, pool.odd_used = reset, 1, now, used
        return 'odd'
      end
      pool.odd_count, pool.odd_used = pool.odd_count + 1, max(pool.odd_used, used)
      if pool.odd_count < 3 then return 'odd' end
      used = pool.odd_used
      most = 2 * used < pool.used and HUGE or max(0, Pool.gate(pool).tok)
    end
    Pool.roll_over(pool, now)
    Trial.clear(pool)
    if most then
      -- By our time no window has ended: we were wrong about this one, or are now.
      Gate.lower_to(Pool.gate(pool), most)
      pool.reset_before = before
    end
    Pool.set_figures(pool, limit, used, reset, now)
    return 'current'
  end

  function Pool.observe_bare(pool, is_success, now)
    if pool.trial_calls == 0 then return end
    Trial.give_back(pool)
    if not is_success then return end
    pool.bare = pool.bare + 1
    if pool.bare < 3 then return end
    Trial.clear(pool)
    if pool.known == 1 then return end
    pool.limit, pool.window_ms = untold(pool.resource)
    pool.known, pool.reset, pool.born, pool.outside_at = 1, now + pool.window_ms, now, now
    Gate.restart(Pool.gate(pool), now, Pool.head_start(pool, now))
  end

  function Pool.forecast(pool, now)
    local passed = now - pool.outside_at
    if pool.known == 0 or passed < 15000 then return end
    local others = pool.used - pool.own - div(pool.in_flight, 2)
    local age = clamp(pool.outside_at - pool.born, 0, 120000)
    local taken = max(0, others - pool.outside_seen)
    pool.outside = div(pool.outside * age + taken * U * 1000, passed + age)
    pool.outside_seen, pool.outside_at = max(pool.outside_seen, others), now
  end

  function Pool.remember_dear(pool, over, now)
    over = min(over, div(pool.limit, 50))
    if over > pool.dear then pool.dear, pool.dear_at = over, now end
  end

  function Pool.correct_bucket(pool, reserved, actual)
    if actual < reserved then
      Gate.give_back(Pool.gate(pool), (reserved - actual) * U, Pool.depth(pool))
    else
      Gate.take(Pool.gate(pool), (actual - reserved) * U, Pool.debt(pool))
    end
  end

  function Pool.spend(pool, agent, points)
    pool.own = pool.own + points
    local member = Pool.member_for(pool, agent)
    member.spent = member.spent + points
  end

  -- Takes over what a replica knew of the pool, in store time.
  function Pool.take_over(pool, snapshot, now)
    if not snapshot.is_known or snapshot.reset <= now then return end
    if pool.known == 1 and abs(snapshot.reset - pool.reset) <= MATCH_MS then
      pool.used = max(pool.used, snapshot.used)
      return
    end
    if pool.known == 1 and snapshot.reset < pool.reset then return end
    pool.limit, pool.used = snapshot.limit, snapshot.used
    pool.reset, pool.window_ms = snapshot.reset, snapshot.window_ms
    pool.window = max(snapshot.window_number, pool.window)
    pool.outside_seen, pool.outside_at, pool.born = snapshot.used - pool.own, now, now
    pool.outside, pool.known = snapshot.outside, 1
    Trial.clear(pool)
  end
end
