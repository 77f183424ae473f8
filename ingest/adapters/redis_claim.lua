#!lua flags=allow-oom
-- Take over what was delivered and left alone, a bounded piece at a time.
-- KEYS  1 event stream
-- ARGV  1 group  2 consumer  3 idle for so many ms  4 at most so many  5 begin at this id
-- Returns where to go on ("0-0": all were looked at) and a list of {id, deliveries, fields}. XAUTOCLAIM drops what was
-- trimmed by itself, but doesn't tell how often the rest was delivered.
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[5], 'COUNT', ARGV[4])
local found = {}
for at, entry in ipairs(reply[2]) do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
  found[at] = {entry[1], pending[1][4], entry[2]}
end
return {reply[1], found}
