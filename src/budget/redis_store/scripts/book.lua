-- Books a time at which a caller refused by its replica will be served; see ledger/admit.rs.
--
-- KEYS     the installation's six; the resource; the order and the places of the gate `pool`
-- returns  the reply: refused RETRY_AFTER_S REASON; with the agent's view and the pool
-- clock    the server's
function Steps.book(booking)
  Ledger.begin()
  local pool = Pool.of(booking.resource, ledger, now)
  Pool.refill(pool, ledger, caps.headroom, now)
  local wait_ms, reason = booking.wait_ms, booking.reason
  -- What the head of its queue was told may have been before GitHub asked for silence.
  if now < ledger.silent_to then wait_ms, reason = max(wait_ms, ledger.silent_to - now), 'cooldown' end
  local fresh_ms = ends_with_window(reason) and Pool.fresh_step_ms(pool, booking.share)
  local retry_after = book(pool, booking.share, wait_ms, booking.step_ms, fresh_ms)
  return Ledger.reply({ 'refused', retry_after, reason }, Ledger.view(pool, booking.share), pool)
end
