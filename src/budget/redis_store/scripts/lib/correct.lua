-- Moves the tags and clocks of a call's agent by what became known after the call was admitted.
local function correct_units(lease, by)
  local tag = div(by, lease.weight)
  local route = lease.asked_route == 1 and Gate.of(Ledger.route_name(lease.route))
  if route then Gate.correct(route, lease.agent, tag) end
  if lease.asked_installation == 1 then Gate.correct(Ledger.installation_gate(), lease.agent, tag) end
  local pool = Pool.of(lease.resource, ledger, now)
  if lease.asked_pool == 1 then
    Gate.correct(Pool.gate(pool), lease.agent, tag)
    -- The agent's next time may have been put off by what the call might have cost.
    if by < 0 then Gate.pay_back(Pool.gate(pool), lease.agent, Pool.turns_apart_ms(pool, lease, -by), now) end
  end
  local member = Pool.member_for(pool, lease.agent)
  if lease.guarantee > 0 then member.guaranteed_to = member.guaranteed_to + div(by * 1000, lease.guarantee) end
  if lease.ceiling > 0 then member.ceiling_to = member.ceiling_to + div(by * 1000, lease.ceiling) end
end
