-- What nobody uses is forgotten after its longest window twice; when it began is remembered longer, for
-- a ledger that begins anew grants nothing for a moment.
local IDLE_TTL_MS, BEGINNING_TTL_MS = 3 * HOUR_MS, 30 * 24 * HOUR_MS

-- Lets everything lapse when nobody comes by for long. Sorted sets of gates have times of their own.
local function keep_for_a_while()
  redis.call('PEXPIRE', BEGINNING, BEGINNING_TTL_MS)
  for place = 2, #KEYS do redis.call('PEXPIRE', KEYS[place], IDLE_TTL_MS) end
end
