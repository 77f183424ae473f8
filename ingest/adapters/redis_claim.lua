#!lua flags=allow-oom
-- Take over what was delivered and left alone, a bounded piece at a time: about 1,000 pending entries are looked at.
-- KEYS  1 event stream
-- ARGV  1 group  2 consumer  3 idle for so many ms  4 at most so many  5 begin at this id
-- Returns where to go on ("0-0": the end was reached) and a list of {id, deliveries, fields}. XAUTOCLAIM drops what was
-- trimmed by itself, but doesn't tell how often the rest was delivered, and looks at no more than ten times its COUNT.
local at, most, found = ARGV[5], tonumber(ARGV[4]), {}
for _ = 1, math.max(1, math.floor(100 / most)) do
  local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], at, 'COUNT', most - #found)
  at = reply[1]
  for _, entry in ipairs(reply[2]) do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)
    found[#found + 1] = {entry[1], pending[1][4], entry[2]}
  end
  if at == '0-0' or #found == most then
    break
  end
end
return {at, found}
