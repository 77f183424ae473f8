#!lua flags=allow-oom
-- Free what consumers have done with, a bounded piece at a time. Never what a group has not acknowledged.
-- KEYS  1 event stream  2 its octets
-- ARGV  1 keep at most so many acknowledged octets  2 oldest age in ms  3 entries to look at
-- Without a group age alone trims. Returns how many entries went.
local MANY = 10

local function split(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local function before(one, other)
  local ms, seq = split(one)
  local other_ms, other_seq = split(other)
  return ms < other_ms or (ms == other_ms and seq < other_seq)
end

if redis.call('TYPE', KEYS[1])['ok'] ~= 'stream' then
  return 0
end
-- `done`: the last entry that every group has delivered; `open`: the first one that some group has yet to acknowledge.
local done, open
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local fields = {}
  for at = 1, #group, 2 do
    fields[group[at]] = group[at + 1]
  end
  local delivered = fields['last-delivered-id']
  if not done or before(delivered, done) then
    done = delivered
  end
  local pending = redis.call('XPENDING', KEYS[1], fields['name'])
  if pending[1] > 0 and (not open or before(pending[2], open)) then
    open = pending[2]
  end
end

local clock = redis.call('TIME')
local oldest = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(ARGV[2])
local octets = tonumber(redis.call('GET', KEYS[2]) or 0)
local gone, freed, last = 0, 0, nil
while gone < tonumber(ARGV[3]) do
  local entries = redis.call('XRANGE', KEYS[1], last and '(' .. last or '-', '+', 'COUNT', MANY)
  local kept = #entries == 0
  for _, entry in ipairs(entries) do
    local id = entry[1]
    local acknowledged = not done or ((id == done or before(id, done)) and (not open or before(id, open)))
    local ripe = split(id) < oldest or (done and octets - freed > tonumber(ARGV[1]))
    if not (acknowledged and ripe) then
      kept = true
      break
    end
    last, gone, freed = id, gone + 1, freed + #entry[2][6]
  end
  if kept then
    break
  end
end
if gone > 0 then
  local ms, seq = string.match(last, '^(%d+)-(%d+)$')
  redis.call('XTRIM', KEYS[1], 'MINID', ms .. '-' .. string.format('%.0f', tonumber(seq) + 1))
  redis.call('SET', KEYS[2], string.format('%.0f', math.max(0, octets - freed)))
end
return gone
