#!lua flags=allow-oom
-- Free what consumers have done with, a bounded piece at a time. Never what a group has not acknowledged.
-- KEYS  1 event stream  2 its octets  3 how the stream stood when it was last counted or trimmed (see redis_recount)
-- ARGV  1 keep at most so many acknowledged octets  2 oldest age in ms  3 entries to look at  4 octets to look at
--       5 begin behind this id ("0-0": with the oldest)
-- Acknowledged entries behind one that waits go, too: else one that nobody acknowledges would fill the stream.
-- Without a group age alone trims. Returns how many entries went, and the id to go on behind ("" when through).
local CHUNK, AHEAD = 10, 100

-- Ids are compared as text, since their numbers may be larger than Lua's are exact.
local function less(one, other)
  if #one ~= #other then
    return #one < #other
  end
  return one < other
end
local function before(one, other)
  local ms, seq = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  return less(ms, other_ms) or (ms == other_ms and less(seq, other_seq))
end
local function age_mark(id)
  return tonumber(string.match(id, '^%d+'))
end
local function fields_of(reply)
  local fields = {}
  for at = 1, #reply, 2 do
    fields[reply[at]] = reply[at + 1]
  end
  return fields
end
local function mark()
  local stream = fields_of(redis.call('XINFO', 'STREAM', KEYS[1]))
  return string.format('%.0f', stream['entries-added'] - stream['length']) .. ' ' .. stream['recorded-first-entry-id'],
    stream['recorded-first-entry-id']
end

if redis.call('TYPE', KEYS[1])['ok'] ~= 'stream' then
  return {0, ''}
end
local keep, limit, read_limit = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call('TIME')
local oldest = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(ARGV[2])
local octets = tonumber(redis.call('GET', KEYS[2]) or 0)
local stood, first = mark()
local counted = redis.call('GET', KEYS[3]) == stood
if octets <= keep and age_mark(first) >= oldest then
  return {0, ''}
end

-- `done`: the last entry that every group was given; `holding`: the groups that have yet to acknowledge some of it.
local done
local holding = {}
for _, reply in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = fields_of(reply)
  if not done or before(group['last-delivered-id'], done) then
    done = group['last-delivered-id']
  end
  if group['pending'] > 0 then
    holding[#holding + 1] = {name = group['name'], ids = {}, at = 1, more = true}
  end
end

-- The first entry behind this one that a group was given and has yet to acknowledge.
local function next_open(id)
  local found
  for _, group in ipairs(holding) do
    while group.ids[group.at] and not before(id, group.ids[group.at]) do
      group.at = group.at + 1
    end
    if group.more and not group.ids[group.at] then
      group.ids, group.at = {}, 1
      for at, pending in ipairs(redis.call('XPENDING', KEYS[1], group.name, '(' .. id, '+', AHEAD)) do
        group.ids[at] = pending[1]
      end
      group.more = #group.ids == AHEAD
    end
    local next_id = group.ids[group.at]
    if next_id and (not found or before(next_id, found)) then
      found = next_id
    end
  end
  return found
end

local id, looked, read, freed = ARGV[5], 0, 0, 0
local open = next_open(id)
local gone, through = {}, false
while not through and looked < limit and read < read_limit do
  local entries = redis.call('XRANGE', KEYS[1], '(' .. id, open and '(' .. open or '+', 'COUNT', CHUNK)
  for _, entry in ipairs(entries) do
    local size = #(entry[2][6] or '')
    looked, read = looked + 1, read + size
    local acknowledged = not done or not before(done, entry[1])
    local ripe = age_mark(entry[1]) < oldest or (done and octets - freed > keep)
    if not (acknowledged and ripe) then
      through = true -- nor is anything behind it
      break
    end
    id = entry[1]
    gone[#gone + 1], freed = id, freed + size
  end
  if not through and #entries < CHUNK then
    if open then
      id, looked = open, looked + 1
      open = next_open(id)
    else
      through = true
    end
  end
end
if #gone > 0 then
  redis.call('XDEL', KEYS[1], unpack(gone))
  redis.call('SET', KEYS[2], string.format('%.0f', math.max(0, octets - freed)))
  if freed > octets then
    redis.call('DEL', KEYS[3]) -- something was added that nobody counted
  elseif counted then
    redis.call('SET', KEYS[3], (mark()))
  end
end
return {#gone, through and '' or id}
