-- Books a time at which a caller refused by its replica will be served; see ledger/admit.rs.
--
-- KEYS     the installation's six; the resource; the order and the places of the gate `pool`
-- returns  the reply: refused RETRY_AFTER_S REASON; with the agent's view and the pool
-- clock    the server's

-- Finds a time at the pool for a caller that its replica's queue refuses, one turn after another of its agent's.
local function book_queued(pool, share, reason, wait_ms, step_ms)
  local is_capped = reason == 'ceiling'
  if pool.known == 0 or not (reason == 'turn:pool' or is_capped) then return nil end
  local gate = Pool.gate(pool)
  local guarantee, ceiling = Ledger.rates_of(share, pool)
  local need, is_sure = gate.avg, guarantee > 0
  local at = Gate.book(gate, {
    agent = share.agent, head = share.agent, weight = share.weight, charge = div(need, share.weight), need = need,
    is_interactive = false, is_due = false, express = 0, now = now,
    -- What the ceiling leaves between two of its turns follows from what its own calls cost.
    least_ms = ceiling > 0 and max(div(need * 1000, ceiling), is_capped and step_ms or 0) or 0,
    most_ms = is_sure and div(need * 1000, guarantee) or HUGE,
    ends_at = now + Pool.to_next_window_ms(pool, now), next_rate = pool.next_rate, pace = pool.pace,
    wanting = Pool.wanting(pool, share),
  }, {
    opens_at = is_capped and now + wait_ms or now,
    sure_at = is_sure and Pool.member(pool, share.agent).guaranteed_to + 1 or HUGE,
  })
  if at then Pool.expect(pool, share, at, now) end
  return at
end

function Steps.book(booking)
  Ledger.begin()
  local pool = Pool.of(booking.resource, ledger, now)
  Pool.refill(pool, ledger, caps.headroom, now)
  local wait_ms, reason = booking.wait_ms, booking.reason
  -- What the head of its queue was told may have been before GitHub asked for silence.
  if now < ledger.silent_to then wait_ms, reason = max(wait_ms, ledger.silent_to - now), 'cooldown' end
  Pool.see(pool, booking.share, now)
  if ends_with_window(reason) then Pool.set_wants(pool, booking.share.agent, true) end
  local at = book_queued(pool, booking.share, reason, wait_ms, booking.step_ms)
  if at then
    return Ledger.reply({ 'refused', max(1, div_ceil(at - now, 1000)), reason }, Ledger.view(pool, booking.share), pool)
  end
  local fresh_ms = ends_with_window(reason) and Pool.fresh_step_ms(pool, booking.share)
  local retry_after = book(pool, booking.share, wait_ms, booking.step_ms, fresh_ms)
  return Ledger.reply({ 'refused', retry_after, reason }, Ledger.view(pool, booking.share), pool)
end
