-- Whether what holds a call ends with the pool's window.
local function ends_with_window(reason) return reason == 'exhausted' or reason == 'turn:pool' end

-- Books the agent's next time, one step after the last one booked, so that callers that obey come
-- back one by one. Returns whole seconds from now, at least 1. If what holds the call ends with the pool's window, the
-- times go on from there, `fresh_ms` apart.
local function book(pool, share, wait_ms, step_ms, fresh_ms)
  local booked_to = Pool.member(pool, share.agent).booked_to
  local next_at = booked_to > now and booked_to + step_ms or 0
  local at = max(now + wait_ms, min(next_at, now + wait_ms + 60000))
  local end_at = now + Pool.to_next_window_ms(pool, now)
  if fresh_ms and pool.known == 1 and at >= end_at then
    local after = booked_to >= end_at and booked_to + fresh_ms or end_at
    at = min(after, end_at + min(60000, div(pool.window_ms, 2)))
  end
  Pool.member_for(pool, share.agent).booked_to = at
  Pool.see(pool, share, now)
  return max(1, div_ceil(at - now, 1000))
end
