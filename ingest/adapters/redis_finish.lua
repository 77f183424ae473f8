#!lua flags=allow-oom
-- Remember that an event was handled, and acknowledge it; also in a Redis that is full (see redis_begin).
-- KEYS  1 event stream  2 mark of the event
-- ARGV  1 group  2 the entry's id  3 ms to remember it for
redis.call('SET', KEYS[2], 'done', 'PX', ARGV[3])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
