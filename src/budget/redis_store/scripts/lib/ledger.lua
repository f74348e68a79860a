-- The steps of one script: their time, what has expired by then, and the replies; see ledger.rs.
local FORGET_MS, FORGOTTEN_MS, CEILING_SLACK_MS = 2 * 60 * MINUTE_MS, 120000, 15000

-- What applies to all steps of a script, and the names for the keys after the first six, in which
-- resources and gates are kept.
local request = cmsgpack.unpack(ARGV[1])
do
  local next_key = 7
  for _, resource in ipairs(request.resources) do
    seen_of[resource] = KEYS[next_key]
    next_key = next_key + 1
  end
  for _, gate in ipairs(request.gates) do
    order_of[gate], expiry_of[gate] = KEYS[next_key], KEYS[next_key + 1]
    next_key = next_key + 2
  end
end
local server_ms = request.now_ms
if not server_ms then
  local time = redis.call('TIME')
  server_ms = time[1] * 1000 + floor(time[2] / 1000)
end

-- The step being made.
local call, caps, ledger, now
-- What each command does, by its name; returns the reply.
local Steps = {}
-- Run after everything has been written.
local afterwards

local Ledger = {}
do
  local LEDGER = {
    'epoch', 'pause_ms', 'seq', 'offset', 'silent_to', 'trial_calls', 'trial_left', 'trial_since',
    'trial_every', 'failures', 'hits', 'last_hit', 'learned', 'slots', 'plateau', 'grown_at', 'all_ms',
    'all_points', 'all_at',
  }
  local MISSING_MS = 10000
  -- The replicas at the time `counted_at`: all of them, and those that miss heartbeats.
  local counted_at, seen, missing

  local function count_replicas()
    if counted_at == now then return end
    counted_at = now
    seen = redis.call('ZCOUNT', REPLICAS, now - FORGOTTEN_MS, '+inf')
    missing = redis.call('ZCOUNT', REPLICAS, now - FORGOTTEN_MS, '(' .. string.format('%.0f', now - MISSING_MS))
  end

  -- The part of a rate that this ledger may give while replicas are missing.
  local function scale(rate)
    count_replicas()
    if missing == 0 then return rate end
    local all = 2 * max(1, seen)
    return div(rate, all) * (all - missing)
  end

  function Ledger.gate_or_new(name, tok) return Gate.of(name) or Gate.new(name, tok, now) end
  function Ledger.installation_gate() return Ledger.gate_or_new('installation', 20 * U) end
  function Ledger.content_gate() return Ledger.gate_or_new('content', ledger.pause_ms == 0 and 60 * U or FIRST_WRITES) end

  -- Begins a step: sets its time, and removes what has expired by then.
  function Ledger.begin()
    ledger = Hash.record(LEDGER, BEGINNING, 'ledger')
    if not ledger then
      ledger = {
        epoch = 0, pause_ms = request.pause_ms, seq = 0, offset = 0, silent_to = 0, failures = 0, hits = 0,
        last_hit = -FORGET_MS, learned = UNLIMITED, slots = UNLIMITED, plateau = 0, grown_at = 0, all_ms = 0,
        all_points = 0, all_at = 0,
      }
      Trial.clear(ledger)
      Hash.set_record(LEDGER, BEGINNING, 'ledger', ledger)
    end
    local last = call.stamp.last_reply
    if last and last.elapsed_ms < 30000 then
      local jump = server_ms + ledger.offset - (last.at + last.elapsed_ms)
      if abs(jump) > 5000 then ledger.offset = ledger.offset - jump end
    end
    now = server_ms + ledger.offset
    if ledger.epoch == 0 then
      ledger.epoch = now
      Ledger.installation_gate()
      Ledger.content_gate()
    end
    ledger.scale = scale
    Pool.begin_step()
    for _, id in ipairs(call.stamp.ended) do
      local lease = Lease.of(id)
      if lease and lease.is_settled == 1 then Lease.remove(id) end
    end
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRIES, '-inf', now, 'LIMIT', 0, EVICTIONS)) do
      local lease = Lease.of(id)
      Lease.remove(id)
      if lease then Lease.take_back(lease) end
    end
  end

  function Ledger.route_name(route) return 'route:' .. route end
  function Ledger.ring_field(route) return 'ring:' .. route end

  -- A route's gate is made when the route is first seen, and again after a long silence.
  function Ledger.route_gate(route)
    local gate = Gate.of(Ledger.route_name(route))
    if gate and now - gate.t <= ROUTE_IDLE_MS then return gate end
    Ring.forget(STATE, Ledger.ring_field(route))
    return Gate.new(Ledger.route_name(route), 20 * U, now)
  end
  function Ledger.route_ring(route) return Ring.of(Ring.MINUTE, STATE, Ledger.ring_field(route)) end
  function Ledger.all_ring() return Ring.of(Ring.MINUTE, BEGINNING, 'ring:all') end
  function Ledger.content_minute_ring() return Ring.of(Ring.MINUTE, BEGINNING, 'ring:content_minute') end
  function Ledger.content_hour_ring() return Ring.of(Ring.HOUR, BEGINNING, 'ring:content_hour') end

  function Ledger.learned() return min(ledger.learned, caps.all) end
  function Ledger.slots() return min(caps.concurrent, ledger.slots) end

  -- Converts points an hour of `core` to micro-points a second of a pool: the same part of its limit.
  function Ledger.rate_of(points_an_hour, pool)
    points_an_hour = min(points_an_hour, LIMIT_MAX)
    if pool.resource == 'core' or pool.known == 0 then return div(points_an_hour * U, 3600) end
    local core = Pool.find('core')
    local limit = core and core.known == 1 and core.limit or LIMIT_UNTOLD
    local thousandths = min(LIMIT_MAX * 1000, div(points_an_hour * pool.limit * 1000, max(1, limit)))
    return div(thousandths * U, pool.window_ms)
  end

  -- The rates of an agent's guarantee and ceiling in a pool, in micro-points a second; 0 for none.
  function Ledger.rates_of(share, pool)
    local ceiling = share.ceiling and max(1, Ledger.rate_of(share.ceiling, pool)) or 0
    if share.guarantee == 0 then return 0, ceiling end
    local own, sum = Ledger.rate_of(share.guarantee, pool), Ledger.rate_of(share.guarantees, pool)
    local scaled, rate = own, Pool.gate(pool).rate
    -- A scarce pool scales all guarantees alike: together they get four fifths of its rate.
    if 5 * sum > 4 * rate then
      local part = div(own * 100000, max(1, sum))
      scaled = min(own, div(part * div(div(4 * rate, 5), 1000), 100))
    end
    return max(1, scaled), ceiling
  end

  -- An agent's standing in a pool that has just been filled: used, remaining, reset_in_ms, weight,
  -- weights, is_known.
  function Ledger.view(pool, share)
    local member = Pool.member(pool, share.agent)
    local weights = pool.weights
    if member.forget_at == 0 then weights = weights + share.weight end
    local part = div(max(0, pool.left) * share.weight, max(1, weights))
    if share.ceiling then
      local span = max(0, pool.reset - max(member.ceiling_to, now - CEILING_SLACK_MS))
      part = min(part, div(Ledger.rate_of(share.ceiling, pool) * div(span, 1000), U))
    end
    return {
      member.spent, max(0, part), max(0, pool.reset - now), share.weight, weights, pool.known,
    }
  end

  -- limit, used, own, in_flight, reset, window_ms, window_number, outside, rate, learned, cool, replicas,
  -- leases, is_known.
  function Ledger.snapshot(pool)
    count_replicas()
    return {
      pool.limit, pool.used, pool.own, pool.in_flight, pool.reset, pool.window_ms, pool.window, pool.outside,
      Pool.gate(pool).rate, ledger.learned, ledger.silent_to,
      seen, Lease.count(), pool.known,
    }
  end

  -- The reply: now, epoch, seq, outcome, view, pool; view and pool are empty if there is none.
  function Ledger.reply(outcome, view, pool)
    return { now, ledger.epoch, ledger.seq, outcome, view or {}, pool and Ledger.snapshot(pool) or {} }
  end

  -- Makes all steps, each as if it had come alone, and then writes what they changed in one go. A
  -- reply is one string, since many small values would take Redis and its client longer.
  function Ledger.run()
    local replies = {}
    for place = 2, #ARGV do
      call = cmsgpack.unpack(ARGV[place])
      caps = call.stamp.caps
      local name, command = next(call.command)
      replies[place - 1] = cmsgpack.pack(Steps[name](command))
    end
    Ring.write_all()
    Hash.write_all()
    if afterwards then afterwards() end
    return replies
  end
end
