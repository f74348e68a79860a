-- Hashes read through a cache and written once, when the step is done. A step that fails has written
-- nothing of them.
local INSTALLATION, POOLS, MEMBERS, GATES, TAGS, HEADS, LEASES, LOADS =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local EXPIRIES, REPLICAS, SPACING = KEYS[9], KEYS[10], KEYS[11]

local function garbled(what)
  error({ err = 'GARBLED ' .. what .. ' is not what tollgate wrote there' })
end

-- key -> field -> value as it will be, and as it was read; false: there is none.
local cache, stored = {}, {}
local function hash_of(key)
  if not cache[key] then cache[key], stored[key] = {}, {} end
  return cache[key], stored[key]
end

-- Reads several fields at once, for those who look at them later.
local function fetch(key, fields)
  local values, read = hash_of(key)
  local missing = {}
  for _, field in ipairs(fields) do
    if values[field] == nil then missing[#missing + 1] = field end
  end
  -- `unpack` takes some thousands; a step rarely reads more than a dozen.
  for first = 1, #missing, 1000 do
    local last = min(first + 999, #missing)
    local found = redis.call('HMGET', key, unpack(missing, first, last))
    for place = first, last do
      local value = found[place - first + 1]
      values[missing[place]], read[missing[place]] = value, value
    end
  end
end

local function get(key, field)
  local values, read = hash_of(key)
  local value = values[field]
  if value == nil then
    value = redis.call('HGET', key, field)
    values[field], read[field] = value, value
  end
  return value
end

local function put(key, field, value)
  local values, read = hash_of(key)
  values[field] = value
  if read[field] == nil then read[field] = '' end
end

-- A whole number of ours, or nil.
local function get_number(key, field)
  local value = get(key, field)
  if not value then return nil end
  return tonumber(value) or garbled(key .. ' ' .. field)
end

local function put_number(key, field, value)
  put(key, field, string.format('%.0f', value))
end

-- A record is an array of whole numbers and texts, in the order of its schema.
local function decode(schema, blob, what)
  local ok, list = pcall(cmsgpack.unpack, blob)
  if not ok or type(list) ~= 'table' or #list ~= #schema then garbled(what) end
  local record = {}
  for place, name in ipairs(schema) do
    local value = list[place]
    local is_text = schema.texts and schema.texts[name]
    if type(value) ~= (is_text and 'string' or 'number') then garbled(what) end
    record[name] = value
  end
  return record
end

local function encode(schema, record)
  local list = {}
  for place, name in ipairs(schema) do list[place] = record[name] end
  return cmsgpack.pack(list)
end

-- Records that are decoded once in a step and written back if they changed.
local records = {}
local function record_of(schema, key, field)
  local place = key .. '\0' .. field
  local known = records[place]
  if known == nil then
    local blob = get(key, field)
    known = { schema = schema, key = key, field = field }
    known.value = blob and decode(schema, blob, key .. ' ' .. field) or false
    records[place] = known
  end
  return known.value
end

local function set_record(schema, key, field, value)
  records[key .. '\0' .. field] = { schema = schema, key = key, field = field, value = value }
  return value
end

local function write_all()
  for _, record in pairs(records) do
    put(record.key, record.field, record.value and encode(record.schema, record.value))
  end
  for key, values in pairs(cache) do
    local sets, dels = {}, {}
    for field, value in pairs(values) do
      if value ~= stored[key][field] then
        if value then
          sets[#sets + 1], sets[#sets + 2] = field, value
        else
          dels[#dels + 1] = field
        end
      end
    end
    -- `unpack` takes some thousands; a step rarely writes more than a dozen.
    for first = 1, #sets, 1000 do redis.call('HSET', key, unpack(sets, first, min(first + 999, #sets))) end
    for first = 1, #dels, 1000 do redis.call('HDEL', key, unpack(dels, first, min(first + 999, #dels))) end
  end
end
