-- A gate: an order and a bucket; see ledger/gate.rs. Its tags and heads are the fields `tag:BORN
-- GATE|AGENT` and `head:BORN GATE|HEAD`, so that those of a gate that was forgotten and born again
-- never count. Its waiting heads are in two sorted sets, by start tag and by when their places
-- expire. `heads` counts them; `held` counts those that are held here, not at a later gate.

-- Gate name -> its two sorted sets. The caller names those of each gate it will ask.
local order_of, expiry_of = {}, {}

local Gate = {}
do
  local GATE = { 'born', 'v', 'tok', 't', 'rem', 'rate', 'avg', 'heads', 'held', 'booked', added = { booked = 0 } }
  local HEAD = { 'agent', 'charge', 'need', 'is_held', 'weight', texts = { agent = true }, added = { weight = 1 } }
  local SETS_TTL_MS = 600000

  function Gate.field(name) return 'gate:' .. name end

  function Gate.of(name)
    local gate = Hash.record(GATE, STATE, Gate.field(name))
    if gate then gate.name = name end
    return gate
  end

  function Gate.new(name, tok, now)
    local gate = { name = name, born = now, v = 0, tok = tok, t = now, rem = 0, rate = U, avg = U }
    gate.heads, gate.held, gate.booked = 0, 0, 0
    if order_of[name] then redis.call('DEL', order_of[name], expiry_of[name]) end
    return Hash.set_record(GATE, STATE, Gate.field(name), gate)
  end

  function Gate.tag_field(gate, agent)
    if not gate.tags then gate.tags = string.format('tag:%.0f %s|', gate.born, gate.name) end
    return gate.tags .. agent
  end
  function Gate.head_field(gate, head) return string.format('head:%.0f %s|%s', gate.born, gate.name, head) end

  -- Most of the time nobody waits.
  function Gate.head(gate, head)
    return gate.heads > 0 and Hash.record(HEAD, STATE, Gate.head_field(gate, head))
  end
  function Gate.tag(gate, agent) return Hash.get_number(STATE, Gate.tag_field(gate, agent)) end
  function Gate.set_tag(gate, agent, tag) Hash.put_number(STATE, Gate.tag_field(gate, agent), tag) end

  function Gate.forget(gate, head)
    local waiting = Gate.head(gate, head)
    if not waiting then return nil end
    -- If its place expired with the sorted sets, it is not counted any more.
    if redis.call('ZREM', order_of[gate.name], head) == 1 then
      gate.heads, gate.held = gate.heads - 1, gate.held - waiting.is_held
    end
    redis.call('ZREM', expiry_of[gate.name], head)
    Hash.set_record(HEAD, STATE, Gate.head_field(gate, head), false)
    return waiting
  end

  -- Gives up a head's place, and undoes what the place added to its agent's tag.
  function Gate.leave(gate, head)
    local waiting = Gate.forget(gate, head)
    local tag = waiting and Gate.tag(gate, waiting.agent)
    if tag then Gate.set_tag(gate, waiting.agent, tag - waiting.charge) end
  end

  -- The times kept for refused callers, earliest first; see ledger/bookings.rs. Of a gate that keeps none, nothing is
  -- read: `booked` counts them.
  local SLOW_TURN_MS, TURN_MAX_MS, GRACE_MS, BOOKINGS_MAX, OF_ONE_AGENT = 1500, 600000, 5000, 2048, 8
  local FOR_EACH_AGENT = 4
  local NAMED_AHEAD_MS, NAMED_COUNTS_MS, LOOKED_AT = 3600000, 600000, 64
  local KEPT_MAX, RATE_MAX = 1000000 * U, 1000 * U

  function Gate.named_field(gate, agent) return string.format('named:%.0f %s|%s', gate.born, gate.name, agent) end
  function Gate.callers_field(gate, agent)
    return string.format('callers:%.0f %s|%s', gate.born, gate.name, agent)
  end
  function Gate.owed_field(gate, agent) return string.format('owed:%.0f %s|%s', gate.born, gate.name, agent) end
  function Gate.booked_field(gate) return string.format('booked:%.0f %s', gate.born, gate.name) end

  function Gate.turn_ms(need, rate) return min(TURN_MAX_MS, div(need * 1000, rate)) end
  local turn_ms = Gate.turn_ms

  -- Whether the times named to refused callers are kept. Who asks a pool says how many want turns there.
  local function keeps(need, rate, is_pool)
    return need <= FRONT and (is_pool or turn_ms(need, rate) >= SLOW_TURN_MS)
  end

  function Gate.bookings(gate)
    if gate.bookings then return gate.bookings end
    gate.bookings = {}
    if gate.booked == 0 then return gate.bookings end
    local field = Gate.booked_field(gate)
    local blob = Hash.get(STATE, field)
    local ok, list = pcall(cmsgpack.unpack, blob or '')
    if not ok or type(list) ~= 'table' or #list ~= 4 * gate.booked then Hash.garbled(STATE .. ' ' .. field) end
    for place = 1, #list, 4 do
      local booking = { at = list[place], need = list[place + 1], agent = list[place + 2], weight = list[place + 3] }
      gate.bookings[#gate.bookings + 1] = booking
    end
    return gate.bookings
  end

  local function write_bookings(gate)
    local list = {}
    for _, booking in ipairs(gate.bookings) do
      list[#list + 1], list[#list + 2] = booking.at, booking.need
      list[#list + 1], list[#list + 2] = booking.agent, booking.weight
    end
    gate.booked = #gate.bookings
    Hash.put(STATE, Gate.booked_field(gate), gate.booked > 0 and cmsgpack.pack(list))
  end

  -- The fair time named last to an agent's callers, as long as it counts, and how many of them are believed to come
  -- back; see ledger/bookings.rs.
  local function named(gate, agent, now)
    local last = Hash.get_number(STATE, Gate.named_field(gate, agent))
    if not last or last <= now - NAMED_COUNTS_MS then return nil, 0 end
    return last, Hash.get_number(STATE, Gate.callers_field(gate, agent)) or 0
  end
  local function set_named(gate, agent, at, callers)
    Hash.put_number(STATE, Gate.named_field(gate, agent), at)
    Hash.put_number(STATE, Gate.callers_field(gate, agent), callers)
  end

  -- Whether a time that was kept for the agent has lapsed, and none of its calls was served since.
  local function set_owed(gate, agent, is_owed) Hash.put(STATE, Gate.owed_field(gate, agent), is_owed and '1') end

  -- Whether a time of the agent's has lapsed that the call may make up for.
  local function comes_late(gate, ask)
    if gate.booked == 0 or Gate.head(gate, ask.head) then return false end
    return named(gate, ask.agent, ask.now) and Hash.get(STATE, Gate.owed_field(gate, ask.agent)) == '1'
  end

  -- The agent's next fair time comes so much earlier.
  function Gate.pay_back(gate, agent, ms, now)
    if gate.booked == 0 then return end
    local last, callers = named(gate, agent, now)
    if last then set_named(gate, agent, last - ms, callers) end
  end

  -- Gives up times whose callers did not come; returns their agents.
  local function drop_lapsed(gate, now)
    local kept, lapsed = {}, {}
    if gate.booked == 0 then return lapsed end
    for _, booking in ipairs(Gate.bookings(gate)) do
      if booking.at + GRACE_MS > now then
        kept[#kept + 1] = booking
      else
        local last, callers = named(gate, booking.agent, now)
        if last then
          set_named(gate, booking.agent, last, div(callers, 2))
          set_owed(gate, booking.agent, true)
        end
        lapsed[#lapsed + 1] = booking.agent
      end
    end
    if #lapsed > 0 then
      gate.bookings = kept
      write_bookings(gate)
    end
    return lapsed
  end

  -- The place of the agent's first time, if it has come.
  local function due(gate, ask)
    -- A dear call does not use up a time that was kept for a cheap one.
    if gate.booked == 0 or ask.need > FRONT then return nil end
    for place, booking in ipairs(Gate.bookings(gate)) do
      if booking.at > ask.now then return nil end
      if booking.agent == ask.agent then return place end
    end
  end

  -- What the bucket must hold now for every time before the window ends to be kept; nil for none.
  local function kept(gate, now, ends_at)
    local before, most = 0, nil
    for _, booking in ipairs(Gate.bookings(gate)) do
      if booking.at >= ends_at then break end
      local gained = div(min(gate.rate, RATE_MAX) * clamp(booking.at - now, 0, 10 * TURN_MAX_MS), 1000)
      local needed = before + min(FRONT, booking.need) - gained
      most = max(most or needed, needed)
      before = min(KEPT_MAX, before + booking.need)
    end
    return most
  end

  -- Returns the agents that did not come when a time was kept for them.
  function Gate.fill(gate, now, rate, depth)
    rate = max(1, rate)
    local to_full = div(max(0, depth - gate.tok) * 1000, rate) + 1
    local gained = rate * clamp(now - gate.t, 0, to_full) + gate.rem
    gate.rem = gained % 1000
    gate.tok = min(depth, gate.tok + div(gained, 1000))
    gate.t, gate.rate = max(gate.t, now), rate
    local lapsed = drop_lapsed(gate, now)
    if gate.heads == 0 then
      gate.held = 0
      return lapsed
    end
    local expired = redis.call('ZRANGEBYSCORE', expiry_of[gate.name], '-inf', now, 'LIMIT', 0, EVICTIONS)
    if #expired == 0 and redis.call('EXISTS', expiry_of[gate.name]) == 0 then
      -- Nobody came by for so long that the sorted sets expired, with heads that nobody withdrew.
      redis.call('DEL', order_of[gate.name])
      gate.heads, gate.held = 0, 0
    end
    for _, head in ipairs(expired) do
      Gate.leave(gate, head)
      -- Left by a head that nobody knows any more, or by a script that failed before it wrote its hashes.
      redis.call('ZREM', order_of[gate.name], head)
      redis.call('ZREM', expiry_of[gate.name], head)
    end
    return lapsed
  end

  function Gate.restart(gate, now, tok) gate.tok, gate.t, gate.rem = tok, max(gate.t, now), 0 end

  function Gate.lower_to(gate, most) gate.tok = min(gate.tok, most) end

  function Gate.pause(gate, now) gate.t, gate.tok = max(gate.t, now), min(gate.tok, 2 * U) end

  function Gate.start(gate, ask)
    if Gate.head(gate, ask.head) then
      local tag = redis.call('ZSCORE', order_of[gate.name], ask.head)
      if tag then return tonumber(tag) end
      -- Its place expired with the sorted sets.
      Gate.leave(gate, ask.head)
    end
    return max(Gate.tag(gate, ask.agent) or 0, gate.v - min(SWEPT_BEHIND, max(div(CREDIT, ask.weight), ask.charge)))
  end

  function Gate.join(gate, ask, is_held, now, for_ms)
    local order, expiry = order_of[gate.name], expiry_of[gate.name]
    local waiting, held = Gate.head(gate, ask.head), is_held and 1 or 0
    if waiting then
      gate.held = gate.held - waiting.is_held
      waiting.need, waiting.is_held = ask.need, held
    else
      local tag = Gate.start(gate, ask)
      Gate.set_tag(gate, ask.agent, tag + ask.charge)
      redis.call('ZADD', order, tag, ask.head)
      local head = { agent = ask.agent, weight = ask.weight, charge = ask.charge, need = ask.need, is_held = held }
      Hash.set_record(HEAD, STATE, Gate.head_field(gate, ask.head), head)
      gate.heads = gate.heads + 1
    end
    gate.held = gate.held + held
    redis.call('ZADD', expiry, now + min(for_ms, PLACE_MS), ask.head)
    redis.call('PEXPIRE', order, SETS_TTL_MS)
    redis.call('PEXPIRE', expiry, SETS_TTL_MS)
  end

  -- How many heads have a smaller tag, or the same tag and a smaller name.
  function Gate.ahead(gate, ask, start)
    if gate.heads == 0 then return 0 end
    local order = order_of[gate.name]
    if Gate.head(gate, ask.head) then return redis.call('ZRANK', order, ask.head) or Hash.garbled(order) end
    if redis.call('ZCOUNT', order, start, start) == 0 then
      return redis.call('ZCOUNT', order, '-inf', start)
    end
    redis.call('ZADD', order, start, ask.head)
    local rank = redis.call('ZRANK', order, ask.head)
    redis.call('ZREM', order, ask.head)
    return rank
  end

  -- What the first heads of the order need in the bucket, if there are so many.
  local function need_of_first(gate, heads)
    if heads == 0 then return 0 end
    local first = redis.call('ZRANGE', order_of[gate.name], 0, 0)[1]
    local waiting = first and Gate.head(gate, first)
    return min(FRONT, waiting and waiting.need or U) + (heads - 1) * gate.avg
  end

  -- Milliseconds until the bucket holds what is missing.
  local function wait_ms(gate, short) return div_ceil(max(0, short) * 1000, gate.rate) end

  -- The first time from `at` on that lies a turn away from all that are kept in the same window, this one or the next.
  local function free_from(gate, at, need, rate, ends_at, is_later)
    for _, other in ipairs(Gate.bookings(gate)) do
      if (other.at >= ends_at) == is_later then
        local apart = turn_ms(max(need, other.need), rate)
        if at + apart > other.at and at < other.at + apart then at = other.at + apart end
      end
    end
    return at
  end

  -- How far an urgent call may be ahead of virtual time, which moves by whole turns: what its own falls short of one.
  local function slack_of(ask) return ask.is_interactive and max(0, U - ask.charge) or 0 end

  function Gate.test(gate, ask)
    local place = due(gate, ask)
    if place then
      local before = 0
      -- Whose guarantee is behind goes before those whose times came earlier, too.
      local others = ask.is_due and 0 or place - 1
      for other = 1, others do before = min(KEPT_MAX, before + gate.bookings[other].need) end
      -- A bucket is full when its window ends, but the last of the turns that it pays for comes a turn earlier. And it
      -- has this turn even if others went first meanwhile.
      local overdraft = ask.ends_at < HUGE and max(ask.need, div(ask.express, 2)) or 0
      local short = min(ask.need, FRONT) + before - gate.tok - overdraft
      return { short = short, wait_ms = wait_ms(gate, short), is_light = true, ahead = 0 }
    end
    local start = Gate.start(gate, ask)
    local reach = ask.is_interactive and start - slack_of(ask) or start + ask.charge
    local is_light = ask.is_due or reach <= gate.v
    local ahead = is_light and 0 or Gate.ahead(gate, ask, start)
    local express = is_light and ask.express or 0
    local alone = min(ask.need, FRONT) + need_of_first(gate, ahead) - gate.tok - express
    local short, wait = alone, wait_ms(gate, alone)
    -- Whoever comes at its time at a pool may overdraw, so an urgent call in between sends hardly anybody away.
    -- So may a light call that is too dear to be kept a time for, or comes late: it would never find its turn between
    -- others'.
    local is_urgent = is_light and (ask.is_interactive or ask.need > FRONT or comes_late(gate, ask))
    local goes_first = ask.is_due or (is_urgent and ask.ends_at < HUGE)
    if gate.booked > 0 and not goes_first then
      -- What was promised is not overdrawn.
      local needed = kept(gate, ask.now, ask.ends_at)
      if needed then short = max(short, alone + express + needed) end
      if short > 0 then
        local from = ask.now + wait
        local free = free_from(gate, from, min(FRONT, ask.need), gate.rate, ask.ends_at, false)
        -- A turn that is free but can't be spared: more was promised than the bucket fills with now.
        wait = free > from and free - ask.now or wait_ms(gate, short)
      end
    end
    return { short = short, wait_ms = wait, is_light = is_light, ahead = ahead }
  end

  -- The weights of those who want turns, and of who asks. At a gate that not every call asks, those are who waits here or
  -- has a time.
  local function weights_of(gate, ask)
    if ask.wanting then return ask.wanting end
    local seen, weights = { [ask.agent] = true }, ask.weight
    local function add(agent, weight)
      if not seen[agent] then seen[agent], weights = true, weights + weight end
    end
    for _, booking in ipairs(Gate.bookings(gate)) do add(booking.agent, booking.weight) end
    if gate.heads == 0 then return weights end
    for _, head in ipairs(redis.call('ZRANGE', order_of[gate.name], 0, LOOKED_AT - 1)) do
      local waiting = Gate.head(gate, head)
      if waiting then add(waiting.agent, waiting.weight) end
    end
    return weights
  end

  -- How many times are kept for an agent, and whether a further one would be.
  function Gate.kept_of(gate, agent)
    local own = 0
    for _, other in ipairs(Gate.bookings(gate)) do
      if other.agent == agent then own = own + 1 end
    end
    return own
  end
  local function has_room_for(gate, agent)
    local bookings, agents, seen = Gate.bookings(gate), 1, { [agent] = true }
    for _, other in ipairs(bookings) do
      if not seen[other.agent] then seen[other.agent], agents = true, agents + 1 end
    end
    local most = max(OF_ONE_AGENT, min(FOR_EACH_AGENT * agents, div(BOOKINGS_MAX, agents)))
    return #bookings < BOOKINGS_MAX and Gate.kept_of(gate, agent) < most
  end

  -- A step after the last fair time that was named to an agent, if one was. One that leads beyond the window's end is
  -- as long as in the next. An agent that is alone is sent no more steps beyond `from` than callers of its come back
  -- before.
  local function next_fair(gate, ask, from)
    local last, callers = named(gate, ask.agent, ask.now)
    if not last then return nil end
    local weights = weights_of(gate, ask)
    local function after(rate)
      local step = max(min(div(turn_ms(ask.need, rate) * weights, ask.weight), ask.most_ms), ask.least_ms)
      return min(last + step, weights == ask.weight and from + step * callers or HUGE)
    end
    -- Turns that lie in the bucket are to be shared, too.
    local rate = max(gate.rate, min(ask.pace, ask.next_rate))
    return min(after(rate), max(after(ask.next_rate), ask.ends_at))
  end

  -- Finds the next time of an agent, and keeps it where turns are far apart. Returns it, or nil if it is not kept, and
  -- whether it is one of the next window.
  function Gate.book(gate, ask, refused)
    local ahead = Gate.ahead(gate, ask, Gate.start(gate, ask))
    local before = need_of_first(gate, ahead)
    local ends_at, rate = ask.ends_at, gate.rate
    local function free(from_at, is_later)
      -- Whose guarantee is behind goes before all others.
      return min(free_from(gate, from_at, ask.need, rate, ends_at, is_later), max(from_at, refused.sure_at))
    end
    local from = ask.now + wait_ms(gate, min(ask.need, FRONT) + before - gate.tok)
    from = max(min(from, max(refused.sure_at, ask.now)), refused.opens_at)
    local latest = ask.now + NAMED_AHEAD_MS
    local next_at = min(next_fair(gate, ask, from) or 0, max(refused.sure_at, from))
    -- Kept, a time named before it is fair would be somebody else's turn.
    local is_early = next_at > latest
    next_at = min(next_at, latest)
    local fair = max(from, next_at)
    -- What would be left over is for whoever may come: the turns of a window in which nobody has a time any more, and
    -- the first of the next, which begins with that call.
    local is_anybodys = ask.least_ms == 0 and not is_early and ends_at < HUGE
    local earliest = Gate.bookings(gate)[1]
    local is_rest = is_anybodys and ahead == 0 and not (earliest and earliest.at < ends_at)
    local at = is_rest and from or free(fair, false)
    local is_later = at >= ends_at
    if is_later then
      rate = ask.next_rate
      local first = max(refused.opens_at, ends_at + turn_ms(before, rate))
      fair = max(next_at, first)
      at = is_anybodys and free(first, true) == first and first or free(fair, true)
    end
    if not keeps(ask.need, rate, ask.wanting ~= nil) then return nil, is_later end
    local last, callers = named(gate, ask.agent, ask.now)
    if not last then set_owed(gate, ask.agent, false) end
    set_named(gate, ask.agent, fair, callers + 1)
    -- One is kept in any case, so that the others share with it.
    if (not is_early or Gate.kept_of(gate, ask.agent) == 0) and has_room_for(gate, ask.agent) then
      local bookings, after = Gate.bookings(gate), 1
      for _, other in ipairs(bookings) do
        if other.at <= at then after = after + 1 end
      end
      table.insert(bookings, after, { at = at, need = ask.need, agent = ask.agent, weight = ask.weight })
      write_bookings(gate)
    end
    return at
  end

  -- Takes a call's part of the bucket, even if the call did not have to ask here.
  function Gate.take(gate, need, debt) gate.tok = max(gate.tok - need, min(gate.tok, -debt)) end

  function Gate.give_back(gate, amount, depth) gate.tok = min(gate.tok + amount, max(depth, gate.tok)) end

  -- Moves an agent's tag by what became known later.
  function Gate.correct(gate, agent, by)
    local tag, behind = Gate.tag(gate, agent), gate.v - CREDIT
    if tag and by > 0 then
      Gate.set_tag(gate, agent, max(tag, behind) + by)
    elseif tag then
      Gate.set_tag(gate, agent, tag + by)
    elseif by > 0 then
      Gate.set_tag(gate, agent, behind + by)
    end
  end

  -- Uses up the agent's time that has come, or its next turn. At a pool, a call that waited took its turn by the order.
  local function take_turn(gate, ask, has_waited)
    if gate.booked == 0 then return end
    local place, taken, turns_are_left = due(gate, ask), nil, gate.tok >= 2 * ask.need
    if place then
      table.remove(gate.bookings, place)
      write_bookings(gate)
    elseif (not turns_are_left or ask.ends_at < HUGE)
      and keeps(ask.need, gate.rate, ask.wanting ~= nil and not has_waited and not turns_are_left) then
      -- A turn between the times of others is one of the agent's, too, unless it was left over. What a window has left
      -- is shared.
      taken = min(max(next_fair(gate, ask, ask.now) or ask.now, ask.now), ask.now + NAMED_AHEAD_MS)
    end
    local last, callers = named(gate, ask.agent, ask.now)
    taken = taken or last
    callers = turns_are_left and div(callers, 2) or max(0, callers - 1)
    if taken then
      set_named(gate, ask.agent, taken, callers)
      set_owed(gate, ask.agent, false)
    end
  end

  -- Lets a head through. Returns whether it had waited.
  function Gate.serve(gate, ask, debt)
    local start = Gate.start(gate, ask)
    local waiting = Gate.forget(gate, ask.head)
    if waiting then
      Gate.correct(gate, ask.agent, ask.charge - waiting.charge)
    else
      Gate.set_tag(gate, ask.agent, start + ask.charge)
    end
    take_turn(gate, ask, waiting ~= nil)
    -- With its slack, an urgent call would pull time along for its agent alone.
    local reached = start - slack_of(ask)
    local lowest = gate.heads > 0 and redis.call('ZRANGE', order_of[gate.name], 0, 0, 'WITHSCORES')[2]
    gate.v = max(gate.v, min(reached, lowest and tonumber(lowest) or reached))
    Gate.take(gate, ask.need, debt)
    return waiting ~= nil
  end

  function Gate.hold_near(gate, agent, ahead)
    local tag = Gate.tag(gate, agent)
    if tag then Gate.set_tag(gate, agent, min(tag, gate.v + ahead)) end
  end
end
