-- Books a time at which a caller refused by its replica will be served; see ledger/admit.rs.
--
-- KEYS     the installation's six; the resource; the order and the places of the gate `pool`
-- returns  the reply: refused RETRY_AFTER_S turn:pool; with the agent's view and the pool
-- clock    the server's
function Steps.book(booking)
  Ledger.begin()
  local pool = Pool.of(booking.resource, ledger, now)
  Pool.refill(pool, ledger, caps.headroom, now)
  local fresh_ms = booking.ends_with_window and Pool.fresh_step_ms(pool, booking.share)
  local retry_after = book(pool, booking.share, booking.wait_ms, booking.step_ms, fresh_ms)
  return Ledger.reply({ 'refused', retry_after, 'turn:pool' }, Ledger.view(pool, booking.share), pool)
end
