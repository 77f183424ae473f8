#!lua flags=allow-oom
-- An event is in hand no more.
-- KEYS  1 mark of the event
-- ARGV  1 consumer
if redis.call('GET', KEYS[1]) == '=' .. ARGV[1] then
  redis.call('DEL', KEYS[1])
end
