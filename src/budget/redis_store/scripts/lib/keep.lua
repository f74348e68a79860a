-- Unused keys are forgotten after three hours. The beginning is remembered for longer, since a
-- ledger that begins anew grants nothing for a moment.
local IDLE_TTL_MS, BEGINNING_TTL_MS = 3 * HOUR_MS, 30 * 24 * HOUR_MS

-- Lets all keys expire if nobody uses them for long. The sorted sets of gates have times of their own.
local function keep_for_a_while()
  redis.call('PEXPIRE', BEGINNING, BEGINNING_TTL_MS)
  for place = 2, #KEYS do redis.call('PEXPIRE', KEYS[place], IDLE_TTL_MS) end
end
