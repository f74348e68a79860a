-- Calls in flight: see ledger/lease.rs. A lease's id is fixed-width hexadecimal, so that ids sort alike
-- here and there.
local LEASE = {
  'resource', 'route', 'agent', 'weight', 'price', 'points', 'creates_content', 'units', 'window', 'at',
  'asked_content', 'asked_route', 'asked_installation', 'asked_pool', 'guarantee', 'ceiling',
  'is_unpriced', 'is_settled',
  texts = { resource = true, route = true, agent = true },
}

local function lease_of(id) return record_of(LEASE, LEASES, id) end
local function lease_count() return redis.call('ZCARD', EXPIRIES) end

local function agent_leases_field(agent) return 'l|' .. agent end
local function leases_of_agent(agent) return get_number(MEMBERS, agent_leases_field(agent)) or 0 end
local function count_lease(agent, by)
  local count = leases_of_agent(agent) + by
  if count > 0 then
    put_number(MEMBERS, agent_leases_field(agent), count)
  else
    put(MEMBERS, agent_leases_field(agent), false)
  end
end

local function insert_lease(id, lease, now)
  set_record(LEASE, LEASES, id, lease)
  redis.call('ZADD', EXPIRIES, now + LEASE_MS, id)
  count_lease(lease.agent, 1)
end

local function remove_lease(id)
  local lease = lease_of(id)
  redis.call('ZREM', EXPIRIES, id)
  if not lease then return end
  set_record(LEASE, LEASES, id, false)
  count_lease(lease.agent, -1)
end

-- Points of the pool it still holds.
local function reserved_of(lease) return lease.is_settled == 1 and 0 or lease.price end

-- A call is in flight no more.
local function take_back(lease)
  local pool = Pool.find(lease.resource)
  if not pool then return end
  pool.in_flight = pool.in_flight - reserved_of(lease)
  if lease.is_unpriced == 1 and lease.is_settled == 0 then Pool.add_unpriced(pool, lease.agent, -1) end
end
