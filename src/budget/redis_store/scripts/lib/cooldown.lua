-- What follows when GitHub refuses; see ledger/cooldown.rs.
local Cooldown = {}
do
  local LOAD = { 'ms', 'points', 'at', 'boxed_to', 'boxes' }
  local SAME_REFUSAL_MS, LEARNED_MIN, SUSPECT_MIN_MS = 5000, 40, 9000

  -- Answer time in milliseconds and secondary points of about the last minute.
  function Cooldown.decayed(ms, points, at)
    local kept = MINUTE_MS - clamp(now - at, 0, MINUTE_MS)
    return div(ms * kept, MINUTE_MS), div(points * kept, MINUTE_MS)
  end

  function Cooldown.add_load(agent, elapsed_ms, points)
    elapsed_ms = clamp(elapsed_ms, 0, 10 * MINUTE_MS)
    local ms, all_points = Cooldown.decayed(ledger.all_ms, ledger.all_points, ledger.all_at)
    ledger.all_ms, ledger.all_points, ledger.all_at = ms + elapsed_ms, all_points + points, now
    local load = Hash.record(LOAD, LOADS, agent)
      or Hash.set_record(LOAD, LOADS, agent, { ms = 0, points = 0, at = 0, boxed_to = 0, boxes = 0 })
    local own_ms, own_points = Cooldown.decayed(load.ms, load.points, load.at)
    load.ms, load.points, load.at = own_ms + elapsed_ms, own_points + points, now
  end

  -- Until when an agent has to sit out.
  function Cooldown.boxed_to(agent)
    local load = Hash.record(LOAD, LOADS, agent)
    return load and load.boxed_to or 0
  end

  -- Whether an agent's part in the load no longer matters.
  function Cooldown.is_over(agent, blob)
    local load = Hash.decode(LOAD, blob, LOADS, agent)
    return now - load.at >= MINUTE_MS and now - load.boxed_to >= FORGET_MS
  end

  -- A call sent at `sent_at` was answered without a refusal.
  function Cooldown.answered(sent_at)
    if ledger.trial_calls > 0 and sent_at and sent_at >= ledger.trial_since then
      Trial.clear(ledger)
      ledger.failures = 0
    end
    if ledger.learned < caps.all and now > ledger.plateau and now > ledger.grown_at + MINUTE_MS then
      ledger.learned = min(caps.all, ledger.learned + max(4, div(ledger.learned, 50)))
      ledger.slots = ledger.slots + 1
      ledger.grown_at = now
    end
  end

  -- The agent with more than half of all answer time, and much of it, at more than three times the
  -- others' time per point.
  function Cooldown.culprit()
    local all_ms, all_points = Cooldown.decayed(ledger.all_ms, ledger.all_points, ledger.all_at)
    local top, top_ms, top_points
    local agents = Hash.record_fields(LOADS)
    Hash.fetch(LOADS, agents)
    for _, name in ipairs(agents) do
      local load = Hash.record(LOAD, LOADS, name)
      local ms, points = Cooldown.decayed(load.ms, load.points, load.at)
      if not top or ms > top_ms or (ms == top_ms and name < top) then top, top_ms, top_points = name, ms, points end
    end
    if not top then return nil end
    local others_ms, others_points = all_ms - top_ms, all_points - top_points
    local is_most = 2 * top_ms > all_ms and top_ms >= SUSPECT_MIN_MS and top_points > 0 and others_points > 0
    if is_most and top_ms * others_points > 3 * others_ms * top_points then return top end
  end

  function Cooldown.put_in_box(agent, retry_after_ms)
    local load = Hash.record(LOAD, LOADS, agent)
    if not load then return end
    load.boxes = now - load.boxed_to < FORGET_MS and load.boxes + 1 or 1
    load.boxed_to = now + retry_after_ms + MINUTE_MS * 2 ^ min(5, load.boxes)
  end

  -- If next to nothing was sent, the pace was not the cause, and no lower pace is learned.
  function Cooldown.lower(hit)
    local pace = div(hit.all * 85, 100)
    if pace >= LEARNED_MIN then ledger.learned = min(Ledger.learned(), pace) end
    if hit.leases >= 30 then ledger.slots = max(8, min(Ledger.slots(), div(hit.leases * 7, 10))) end
  end

  -- GitHub refused for a secondary limit, or for one that nobody can see. `hit`: retry_after_ms,
  -- all (points of the last minute), is_route_free, leases, sent_at if it is known.
  function Cooldown.hit(hit)
    -- Sent before the silence, it is no trial, and says nothing about the pace that was learned.
    local is_late = ledger.trial_calls > 0 and hit.sent_at and hit.sent_at < ledger.silent_to
    if not is_late and now >= ledger.last_hit + SAME_REFUSAL_MS then
      ledger.hits = now - ledger.last_hit < FORGET_MS and ledger.hits + 1 or 1
      ledger.last_hit = now
      local agent = hit.is_route_free and hit.leases < 80 and Cooldown.culprit()
      if agent then Cooldown.put_in_box(agent, hit.retry_after_ms) else Cooldown.lower(hit) end
      ledger.plateau = now + 10 * MINUTE_MS * 2 ^ clamp(ledger.hits - 1, 0, 3)
      if ledger.trial_calls > 0 then ledger.failures = ledger.failures + 1 end
    end
    local longer = 2 ^ clamp(ledger.failures, 0, 4)
    ledger.silent_to = max(ledger.silent_to, now + hit.retry_after_ms * longer + 1000)
    Trial.set(ledger, 1, ledger.silent_to)
  end
end
