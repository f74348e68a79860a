-- Books the agent's next time, one step after the last one booked, so that callers that obey come
-- back one by one. Returns whole seconds from now, at least 1.
local function book(pool, share, wait_ms, step_ms)
  local booked_to = Pool.member(pool, share.agent).booked_to
  local next_at = booked_to > now and booked_to + step_ms or 0
  local at = max(now + wait_ms, min(next_at, now + wait_ms + 60000))
  Pool.member_for(pool, share.agent).booked_to = at
  Pool.see(pool, share, now)
  return max(1, div_ceil(at - now, 1000))
end
