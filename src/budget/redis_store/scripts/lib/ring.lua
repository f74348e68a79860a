-- A count over a sliding time, kept in slots; see ledger/ring.rs. Stored as the number and the
-- count of each slot in turn, the slot with number n at index n mod length.
local Ring = {}
do
  Ring.MINUTE, Ring.HOUR = { slot_ms = 5000, length = 13 }, { slot_ms = 150000, length = 25 }

  local rings = {}
  function Ring.of(shape, key, field)
    local place = key .. '\0' .. field
    local ring = rings[place]
    if ring then return ring end
    local blob = Hash.get(key, field)
    ring = { shape = shape, key = key, field = field }
    if blob then
      local ok, list = pcall(cmsgpack.unpack, blob)
      if not ok or type(list) ~= 'table' or #list ~= 2 * shape.length then Hash.garbled(key .. ' ' .. field) end
      for _, number in ipairs(list) do
        if type(number) ~= 'number' then Hash.garbled(key .. ' ' .. field) end
      end
      ring.slots = list
    else
      ring.slots = {}
      for place = 1, 2 * shape.length, 2 do ring.slots[place], ring.slots[place + 1] = -1, 0 end
    end
    rings[place] = ring
    return ring
  end

  function Ring.forget(key, field)
    rings[key .. '\0' .. field] = nil
    Hash.put(key, field, false)
  end

  function Ring.add_to_slot(ring, number, count)
    local slots, place = ring.slots, 2 * (number % ring.shape.length) + 1
    if slots[place] < number then
      slots[place], slots[place + 1] = number, count
    elseif slots[place] == number then
      slots[place + 1] = max(0, slots[place + 1] + count)
    end
    ring.is_changed, ring.summed_at = true, nil
  end

  function Ring.add(ring, at, count) Ring.add_to_slot(ring, div(at, ring.shape.slot_ms), count) end

  function Ring.take_back(ring, at, count)
    local number = div(at, ring.shape.slot_ms)
    if ring.slots[2 * (number % ring.shape.length) + 1] == number then
      Ring.add_to_slot(ring, number, -count)
    end
  end

  -- Cached, since it is asked many times at the same `now`.
  function Ring.sum(ring, now)
    if ring.summed_at == now then return ring.sum end
    local oldest, sum, slots = div(now, ring.shape.slot_ms) - ring.shape.length, 0, ring.slots
    for place = 1, #slots, 2 do
      if slots[place] > oldest then sum = sum + slots[place + 1] end
    end
    ring.sum, ring.summed_at = sum, now
    return sum
  end

  function Ring.wait_for(ring, now, allowed)
    local slot_ms, length, slots = ring.shape.slot_ms, ring.shape.length, ring.slots
    local current, sum = div(now, slot_ms), Ring.sum(ring, now)
    for number = current - length + 1, current do
      local place = 2 * (number % length) + 1
      if slots[place] == number then sum = sum - slots[place + 1] end
      if sum <= allowed then return max(1, (number + length) * slot_ms - now) end
    end
    return length * slot_ms
  end

  -- `theirs` is a list of [number, count].
  function Ring.merge(ring, theirs)
    for _, slot in ipairs(theirs) do
      if slot[2] > 0 then Ring.add_to_slot(ring, slot[1], slot[2]) end
    end
  end

  function Ring.write_all()
    for _, ring in pairs(rings) do
      if ring.is_changed then Hash.put(ring.key, ring.field, cmsgpack.pack(ring.slots)) end
    end
  end
end
