-- A client hung up: its queue gives its places back.
--
-- KEYS     the installation's six; the order and the places of the gates content, installation,
--          route, pool
-- ARGV     1: the call as JSON, `withdraw` in it
-- returns  the reply: done
-- clock    the server's
Ledger.begin()
for _, name in ipairs(call.gates) do
  local gate = Gate.of(name)
  if gate then Gate.leave(gate, call.command.withdraw.head) end
end
return Ledger.finish({ 'done' })
