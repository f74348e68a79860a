-- Calls in flight; see ledger/lease.rs. A lease's id is fixed-width hexadecimal, so that ids sort
-- the same way here as there.
local Lease = {}
do
  local LEASE = {
    'resource', 'route', 'agent', 'weight', 'price', 'points', 'creates_content', 'units', 'window', 'at',
    'asked_content', 'asked_route', 'asked_installation', 'asked_pool', 'guarantee', 'ceiling',
    'is_unpriced', 'is_settled',
    texts = { resource = true, route = true, agent = true },
  }

  function Lease.field(id) return 'lease:' .. id end
  function Lease.of(id) return Hash.record(LEASE, STATE, Lease.field(id)) end
  local count
  function Lease.count()
    count = count or redis.call('ZCARD', EXPIRIES)
    return count
  end

  function Lease.agent_field(agent) return 'leases:' .. agent end
  function Lease.of_agent(agent) return Hash.get_number(STATE, Lease.agent_field(agent)) or 0 end
  function Lease.count_for(agent, by)
    local count = Lease.of_agent(agent) + by
    if count > 0 then
      Hash.put_number(STATE, Lease.agent_field(agent), count)
    else
      Hash.put(STATE, Lease.agent_field(agent), false)
    end
  end

  function Lease.insert(id, lease, now)
    Hash.set_record(LEASE, STATE, Lease.field(id), lease)
    redis.call('ZADD', EXPIRIES, now + LEASE_MS, id)
    count = nil
    Lease.count_for(lease.agent, 1)
  end

  function Lease.remove(id)
    local lease = Lease.of(id)
    redis.call('ZREM', EXPIRIES, id)
    count = nil
    if not lease then return end
    Hash.set_record(LEASE, STATE, Lease.field(id), false)
    Lease.count_for(lease.agent, -1)
  end

  -- The pool's points it still holds.
  function Lease.reserved(lease) return lease.is_settled == 1 and 0 or lease.price end

  -- Takes back what a call no longer in flight had reserved.
  function Lease.take_back(lease)
    local pool = Pool.find(lease.resource)
    if not pool then return end
    pool.in_flight = pool.in_flight - Lease.reserved(lease)
    if lease.is_unpriced == 1 and lease.is_settled == 0 then Pool.add_unpriced(pool, lease.agent, -1) end
  end
end
