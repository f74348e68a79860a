-- Units and constants; see ledger/units.rs. Times are milliseconds; fractions of a point are
-- counted with U to the point. Every value is whole and below 2^53, so doubles are exact.
local U = 1000000
local CREDIT, FRONT, KAPPA, DEBT = 4 * U, 5 * U, U / 4, 40 * U
local SWEPT_BEHIND = 250 * U
local UNLIMITED, HUGE = 2 ^ 52, math.huge
local LEASE_MS, GUARD_MS, MATCH_MS, PLACE_MS, SEEN_MS = 30000, 1000, 5000, 61000, 60000
local EVICTIONS = 16
local LIMIT_MAX, LIMIT_UNTOLD = 1000000, 5000
local MINUTE_MS, HOUR_MS = 60000, 3600000
local FIRST_WRITES = 10 * U
local ROUTE_IDLE_MS = 2 * HOUR_MS

local floor, max, min, abs = math.floor, math.max, math.min, math.abs

-- Rounded down; exact for whole numbers below 2^53.
local function div(value, by) return floor(value / by) end
local function div_ceil(value, by) return floor((value + by - 1) / by) end
local function clamp(value, low, high) return max(low, min(high, value)) end
