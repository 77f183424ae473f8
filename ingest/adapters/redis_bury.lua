#!lua
-- Move an entry to the dead letters of its group.
-- KEYS  1 event stream  2 dead letters
-- ARGV  1 group  2 consumer  3 the entry's id  4 reason  5 id, 6 type, 7 JSON of its event
-- Added first: an error in between repeats it, and loses nothing. Returns 0 if the consumer no longer has it.
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then
  return 0
end
redis.call('XADD', KEYS[2], '*', 'id', ARGV[5], 'type', ARGV[6], 'event', ARGV[7], 'reason', ARGV[4], 'position', ARGV[3])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 1
