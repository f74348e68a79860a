-- A replica is there. A part of what says nothing any more is forgotten, a hundred fields at a time.
--
-- KEYS     the installation's eleven; the resources it knows of
-- ARGV     1: the call as JSON
-- returns  the reply: done
-- clock    the server's
local SWEPT_AT_ONCE = 100

-- Looks at the next fields of a hash; `is_over` tells of a field and its value whether nobody would
-- notice its absence.
local function sweep(key, cursor_name, is_over)
  local cursor = Hash.get(INSTALLATION, cursor_name) or '0'
  local found = redis.call('HSCAN', key, cursor, 'COUNT', SWEPT_AT_ONCE)
  Hash.put(INSTALLATION, cursor_name, found[1])
  local values = found[2]
  for place = 1, #values, 2 do
    if is_over(values[place], values[place + 1]) then Hash.put(key, values[place], false) end
  end
end

-- The gate behind `BORN GATE|NAME`, if it is still the one.
local function gate_behind(field)
  local born, name = field:match('^(%S+) (.*)|[^|]*$')
  local gate = born and Gate.of(name)
  return gate and string.format('%.0f', gate.born) == born and gate or nil
end

local function sweep_all()
  sweep(GATES, 'swept:gates', function(field)
    local route = field:match('^route:(.*)') or field:match('^ring:(.*)')
    if not route then return false end
    local gate = Gate.of(Ledger.route_name(route))
    return not gate or now - gate.t > ROUTE_IDLE_MS
  end)
  sweep(TAGS, 'swept:tags', function(field, tag)
    local gate = gate_behind(field)
    return not gate or (tonumber(tag) or Hash.garbled(TAGS)) <= gate.v - SWEPT_BEHIND
  end)
  sweep(HEADS, 'swept:heads', function(field) return not gate_behind(field) end)
  sweep(MEMBERS, 'swept:members', function(field, blob)
    local resource, agent = field:match('^m|([^|]*)|(.*)$')
    if not resource then return false end
    local pool = Pool.find(resource)
    return not pool or Pool.is_void(pool, agent, blob)
  end)
  sweep(LOADS, 'swept:loads', Cooldown.is_over)
  redis.call('ZREMRANGEBYSCORE', SPACING, '-inf', now)
end

Ledger.begin()
redis.call('ZADD', REPLICAS, now, call.stamp.replica)
redis.call('ZREMRANGEBYSCORE', REPLICAS, '-inf', '(' .. string.format('%.0f', now - FORGOTTEN_MS))
sweep_all()
local is_due = now - ledger.kept_at >= MINUTE_MS or now < ledger.kept_at
if is_due then ledger.kept_at = now end
local reply = Ledger.finish({ 'done' })
if is_due then keep_for_a_while() end
return reply
