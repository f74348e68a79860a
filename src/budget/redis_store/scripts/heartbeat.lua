-- A replica is alive. Also forgets some of what no longer matters, a hundred fields at a time.
--
-- KEYS     the installation's six; the resources it knows of
-- returns  the reply: done
-- clock    the server's
local SWEPT_AT_ONCE, NAMED_SWEPT_MS = 100, 4 * HOUR_MS

-- Looks at the next fields of a hash, and drops those for which `is_over(field, value)` says that
-- nobody would miss them.
local function sweep(key, cursor_name, is_over)
  local cursor = Hash.get(BEGINNING, cursor_name) or '0'
  local found = redis.call('HSCAN', key, cursor, 'COUNT', SWEPT_AT_ONCE)
  Hash.put(BEGINNING, cursor_name, found[1])
  local values = found[2]
  for place = 1, #values, 2 do
    if is_over(values[place], values[place + 1]) then Hash.put(key, values[place], false) end
  end
end

-- The gate in `BORN GATE|NAME`, if it is still the same one.
local function gate_behind(text)
  local born, name = text:match('^(%S+) (.*)|[^|]*$')
  local gate = born and Gate.of(name)
  return gate and string.format('%.0f', gate.born) == born and gate or nil
end

local function is_route_over(route)
  local gate = Gate.of(Ledger.route_name(route))
  return not gate or now - gate.t > ROUTE_IDLE_MS
end

local function is_unnamed(text) return not gate_behind(text) or not Hash.get(STATE, 'named:' .. text) end

-- By the prefix of the field.
local IS_OVER = {
  gate = function(name)
    local route = name:match('^route:(.*)')
    return route and is_route_over(route)
  end,
  ring = is_route_over,
  tag = function(text, tag)
    local gate = gate_behind(text)
    return not gate or (tonumber(tag) or Hash.garbled(STATE .. ' ' .. text)) <= gate.v - SWEPT_BEHIND
  end,
  head = function(text) return not gate_behind(text) end,
  named = function(text, at)
    return not gate_behind(text) or (tonumber(at) or Hash.garbled(STATE .. ' ' .. text)) <= now - NAMED_SWEPT_MS
  end,
  callers = is_unnamed,
  owed = is_unnamed,
  booked = function(text) return not gate_behind(text .. '|') end,
  member = function(text, blob)
    local resource, agent = text:match('^([^|]*)|(.*)$')
    local pool = resource and Pool.find(resource)
    return not pool or Pool.is_void(pool, agent, blob)
  end,
}

local function sweep_all()
  sweep(STATE, 'swept:state', function(field, value)
    local kind, rest = field:match('^(%l+):(.*)$')
    local is_over = IS_OVER[kind]
    return is_over and is_over(rest, value)
  end)
  sweep(LOADS, 'swept:loads', Cooldown.is_over)
  redis.call('ZREMRANGEBYSCORE', SPACING, '-inf', now)
end

function Steps.heartbeat()
  Ledger.begin()
  redis.call('ZADD', REPLICAS, now, call.stamp.replica)
  redis.call('ZREMRANGEBYSCORE', REPLICAS, '-inf', '(' .. string.format('%.0f', now - FORGOTTEN_MS))
  sweep_all()
  -- Each replica does it, since each knows other resources.
  afterwards = keep_for_a_while
  return Ledger.reply({ 'done' })
end
