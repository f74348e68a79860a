-- A client hung up: gives up the places of its queue's head.
--
-- KEYS     the installation's six; the order and the places of the gates content, installation,
--          route, pool
-- returns  the reply: done
-- clock    the server's
function Steps.withdraw(place)
  Ledger.begin()
  for _, name in ipairs({ 'content', 'installation', Ledger.route_name(place.route), 'pool:' .. place.resource }) do
    local gate = Gate.of(name)
    if gate then Gate.leave(gate, place.head) end
  end
  return Ledger.reply({ 'done' })
end
