#!lua
-- One step: check the fence, the ledger and the key types; add the event; only then append the records.
-- Lua is not rolled back: an error after XADD repeats an event under its same id, it never loses a message.
-- KEYS  1 lease  2 ledger  3 event stream  4 suspects  5 octets in the stream  6 refusals of the shard
-- ARGV  1 token  2 header (16)  3 expected length of the ledger  4 lease TTL in ms
--       5 records without their time, 17 octets each: UIDL digest 8, identity digest 8, kind 1
--       6 event id ("" for none)  7 type  8 event  9 cap of the stream in octets
--       10 digest of what is finished  11 of what is in hand next  12 refusal's field  13 refusal ("" for none, each)
local HEADER, RECORD, HEAD = 16, 20, 17

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'fenced', 0}
end
local function refuses(key, wanted)
  local found = redis.call('TYPE', key)['ok']
  return found ~= 'none' and found ~= wanted
end
if refuses(KEYS[2], 'string') or refuses(KEYS[3], 'stream') or refuses(KEYS[4], 'hash')
  or refuses(KEYS[5], 'string') or refuses(KEYS[6], 'hash') then
  return {'type', 0}
end

local minutes = math.floor(tonumber(redis.call('TIME')[1]) / 60)
local records = {}
for at = 1, #ARGV[5], HEAD do
  local kind = string.byte(ARGV[5], at + 16)
  records[#records + 1] = string.sub(ARGV[5], at, at + 15) .. struct.pack('>I4', kind * 268435456 + minutes)
end

local expected = tonumber(ARGV[3])
local length = redis.call('STRLEN', KEYS[2])
if length > 0 and redis.call('GETRANGE', KEYS[2], 0, HEADER - 1) ~= ARGV[2] then
  return {'moved', 0}
end
if length ~= expected then
  -- our own step whose reply was lost? Then exactly our records stand behind what we knew.
  local from = math.max(expected, HEADER)
  if length ~= from + #records * RECORD then
    return {'moved', 0}
  end
  for i, record in ipairs(records) do
    local at = from + (i - 1) * RECORD
    if redis.call('GETRANGE', KEYS[2], at, at + 15) ~= string.sub(record, 1, 16) then
      return {'moved', 0}
    end
  end
  return {'already', minutes}
end

if ARGV[6] ~= '' then
  if tonumber(redis.call('GET', KEYS[5]) or 0) + #ARGV[8] > tonumber(ARGV[9]) then
    return {'full', 0}
  end
  redis.call('INCRBY', KEYS[5], #ARGV[8])
  local added = redis.pcall('XADD', KEYS[3], '*', 'id', ARGV[6], 'type', ARGV[7], 'event', ARGV[8])
  if added['err'] then  -- else each try would count an event that is not there, until the stream looks full
    redis.call('INCRBY', KEYS[5], -#ARGV[8])
    return added
  end
end
if ARGV[12] ~= '' then
  redis.call('HSET', KEYS[6], ARGV[12], ARGV[13])
end
if length == 0 then
  table.insert(records, 1, ARGV[2])
end
redis.call('APPEND', KEYS[2], table.concat(records))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if ARGV[10] ~= '' then
  redis.call('HDEL', KEYS[4], ARGV[10])
end
if ARGV[11] ~= '' then
  redis.call('HSET', KEYS[4], 'in hand', ARGV[11])
else
  redis.call('HDEL', KEYS[4], 'in hand')
end
return {'done', minutes}
