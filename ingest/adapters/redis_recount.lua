#!lua flags=allow-oom
-- Count the stream's octets anew, a bounded piece at a time, if somebody else took entries out (XDEL, XTRIM, DEL).
-- KEYS  1 event stream  2 its octets  3 how it stood when it was last counted or trimmed: entries gone, first id
-- ARGV  1 entries to look at  2 octets to look at  3 count behind this id ("": begin)  4 octets so far
--       5 how it stood at the beginning
-- Commits meanwhile do no harm: what they add lies behind. The beginning's standing is what is kept, so that entries
-- that went meanwhile make the next call count again. Returns id to go on behind ("" when through), octets, standing.
local CHUNK = 10

local kind = redis.call('TYPE', KEYS[1])['ok']
local counted = tonumber(redis.call('GET', KEYS[2]) or '') -- fails where it is no string, before anything is written
if kind == 'none' then
  redis.call('DEL', KEYS[2], KEYS[3])
end
if kind ~= 'stream' then
  return {'', 0, ''}
end
local id, octets, standing = ARGV[3], tonumber(ARGV[4]), ARGV[5]
if id == '' then
  local stream = {}
  local reply = redis.call('XINFO', 'STREAM', KEYS[1])
  for at = 1, #reply, 2 do
    stream[reply[at]] = reply[at + 1]
  end
  id = '0-0'
  standing = string.format('%.0f', stream['entries-added'] - stream['length'])
    .. ' ' .. stream['recorded-first-entry-id']
  if redis.call('GET', KEYS[3]) == standing and counted then
    return {'', 0, ''}
  end
end

local looked, read = 0, 0
while looked < tonumber(ARGV[1]) and read < tonumber(ARGV[2]) do
  local entries = redis.call('XRANGE', KEYS[1], '(' .. id, '+', 'COUNT', CHUNK)
  for _, entry in ipairs(entries) do
    id, looked, read = entry[1], looked + 1, read + #(entry[2][6] or '')
  end
  if #entries < CHUNK then
    redis.call('SET', KEYS[2], string.format('%.0f', octets + read))
    redis.call('SET', KEYS[3], standing)
    return {'', octets + read, standing}
  end
end
return {id, octets + read, standing}
