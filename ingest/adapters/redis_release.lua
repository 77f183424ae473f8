#!lua flags=allow-oom
-- Give back what was delivered and not begun, so that the next who claims gets it.
-- KEYS  1 event stream
-- ARGV  1 group  2 consumer  3… ids
-- It goes to a consumer that never reads: one that leaves should own nothing, and its delivery counts for none.
for at = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1, ARGV[2])[1]
  if pending then
    redis.call('XCLAIM', KEYS[1], ARGV[1], '(left)', 0, ARGV[at], 'TIME', 1, 'RETRYCOUNT', pending[4] - 1, 'JUSTID')
  end
end
