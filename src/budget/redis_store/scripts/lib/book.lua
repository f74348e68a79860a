-- The next time of the agent's own, one step after the one before, for callers that obey it come back
-- one by one. Gives whole seconds from now.
local function book(pool, share, wait_ms, step_ms)
  local booked_to = Pool.member(pool, share.agent).booked_to
  local next_at = booked_to > now and booked_to + step_ms or 0
  local at = max(now + wait_ms, min(next_at, now + wait_ms + 60000))
  Pool.member_for(pool, share.agent).booked_to = at
  Pool.see(pool, share, now)
  return max(1, div_ceil(at - now, 1000))
end
