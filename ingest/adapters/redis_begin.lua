#!lua flags=allow-oom
-- Take an event in hand, unless its group has handled it. Small, and it leads to acknowledgements, which free: so also
-- in a Redis that is full.
-- KEYS  1 event stream  2 mark of the event
-- ARGV  1 group  2 consumer  3 the entry's id  4 ms that it is in hand for
-- The mark is "done", or "=" and the consumer that has it in hand. Both waits, the mark's and the entry's, begin anew
-- here; the mark's is over first.
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then
  return 'lost'
end
local mark, ours = redis.call('GET', KEYS[2]), '=' .. ARGV[2]
if mark == 'done' then
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
  return 'done'
end
if mark and mark ~= ours then
  return 'busy'
end
redis.call('SET', KEYS[2], ours, 'PX', math.max(1, ARGV[4] - 1))
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
return 'go'
