#!lua
-- Put a dead letter back at the end of its stream.
-- KEYS  1 dead letters  2 event stream  3 its octets
-- ARGV  1 the letter's id  2 cap of the stream
-- Added first: an error in between repeats it, and loses nothing. Returns 0 where there is no such letter, 1 when it is
-- done, 2 where the stream has no room.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then
  return 0
end
local fields = {}
for at = 1, #found[1][2], 2 do
  fields[found[1][2][at]] = found[1][2][at + 1]
end
local octets = #(fields['event'] or '')
if tonumber(redis.call('GET', KEYS[3]) or 0) + octets > tonumber(ARGV[2]) then
  return 2
end
redis.call('XADD', KEYS[2], '*', 'id', fields['id'] or '', 'type', fields['type'] or '', 'event', fields['event'] or '')
redis.call('INCRBY', KEYS[3], octets)
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
