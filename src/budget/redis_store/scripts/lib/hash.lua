-- Hashes that are read through a cache and written once, when all steps are done. If a step fails,
-- nothing is written to them. Most of a ledger is in one hash, so that a step reads and writes it at once.
--
-- Each module is a table, with its own locals in a block: Redis runs a script's text as one
-- function, which may have at most 200 locals.
local BEGINNING, STATE, LOADS, EXPIRIES, REPLICAS, SPACING = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

local Hash = {}
do
  -- key -> field -> the value as it will be, and as it was read; false if there is none.
  local cache, stored = {}, {}
  for place = 1, 3 do cache[KEYS[place]], stored[KEYS[place]] = {}, {} end
  -- key -> field -> record.
  local records = {}
  for place = 1, 3 do records[KEYS[place]] = {} end

  function Hash.garbled(what)
    error('GARBLED ' .. what .. ' is not what tollgate wrote there', 0)
  end

  -- Reads several fields at once, to be looked at later.
  function Hash.fetch(key, fields)
    local values, read = cache[key], stored[key]
    local missing, count = {}, 0
    for place = 1, #fields do
      local field = fields[place]
      if values[field] == nil then
        count = count + 1
        missing[count] = field
      end
    end
    -- `unpack` takes a few thousand values; a step rarely reads more than a dozen.
    for first = 1, count, 1000 do
      local last = min(first + 999, count)
      local found = redis.call('HMGET', key, unpack(missing, first, last))
      for place = first, last do
        local value = found[place - first + 1]
        values[missing[place]], read[missing[place]] = value, value
      end
    end
  end

  function Hash.get(key, field)
    local value = cache[key][field]
    if value == nil then
      value = redis.call('HGET', key, field)
      cache[key][field], stored[key][field] = value, value
    end
    return value
  end

  function Hash.put(key, field, value)
    cache[key][field] = value
    if stored[key][field] == nil then stored[key][field] = '' end
  end

  -- A whole number that tollgate wrote, or nil.
  function Hash.get_number(key, field)
    local value = Hash.get(key, field)
    if not value then return nil end
    return tonumber(value) or Hash.garbled(key .. ' ' .. field)
  end

  -- Redis writes whole numbers below 2^53 in full.
  Hash.put_number = Hash.put

  -- A record is an array of whole numbers and texts, in the order of its schema. Returns the array, too.
  function Hash.decode(schema, blob, key, field)
    local ok, list = pcall(cmsgpack.unpack, blob)
    local added = schema.added
    -- What other versions wrote lacks what was added since, or has at its end what is left out now.
    if not ok or type(list) ~= 'table' or (#list < #schema and not added) then Hash.garbled(key .. ' ' .. field) end
    local record, texts = {}, schema.texts
    for place = 1, #schema do
      local name, value = schema[place], list[place]
      if value == nil and added then value = added[name] end
      local is_sound
      if texts and texts[name] then
        is_sound = type(value) == 'string'
      else
        is_sound = type(value) == 'number' and value - value == 0
      end
      if not is_sound then Hash.garbled(key .. ' ' .. field) end
      record[name] = value
    end
    return record, list
  end

  -- Decodes each record once per script, to be written back if it changed; false if there is none.
  function Hash.record(schema, key, field)
    local known = records[key][field]
    if known == nil then
      local blob = Hash.get(key, field)
      known = { schema = schema, value = false }
      if blob then known.value, known.was = Hash.decode(schema, blob, key, field) end
      records[key][field] = known
    end
    return known.value
  end

  function Hash.set_record(schema, key, field, value)
    records[key][field] = { schema = schema, value = value }
    return value
  end

  -- The fields of all records of a hash, as they will be.
  function Hash.record_fields(key)
    local fields = {}
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if not records[key][field] then fields[#fields + 1] = field end
    end
    for field, record in pairs(records[key]) do
      if record.value then fields[#fields + 1] = field end
    end
    return fields
  end

  local function write_record(key, field, record)
    local schema, value, was = record.schema, record.value, record.was
    if not value then
      if cache[key][field] ~= false then Hash.put(key, field, false) end
      return
    end
    local list, is_changed = {}, not was
    for place = 1, #schema do
      local part = value[schema[place]]
      list[place] = part
      if not is_changed and part ~= was[place] then is_changed = true end
    end
    if is_changed then Hash.put(key, field, cmsgpack.pack(list)) end
  end

  function Hash.write_all()
    for key, fields in pairs(records) do
      for field, record in pairs(fields) do write_record(key, field, record) end
    end
    for key, values in pairs(cache) do
      local read, sets, dels = stored[key], {}, {}
      for field, value in pairs(values) do
        if value ~= read[field] then
          if value then
            sets[#sets + 1], sets[#sets + 2] = field, value
          else
            dels[#dels + 1] = field
          end
        end
      end
      -- `unpack` takes a few thousand values; a step rarely writes more than a dozen.
      for first = 1, #sets, 1000 do
        redis.call('HSET', key, unpack(sets, first, min(first + 999, #sets)))
      end
      for first = 1, #dels, 1000 do
        redis.call('HDEL', key, unpack(dels, first, min(first + 999, #dels)))
      end
    end
  end
end
