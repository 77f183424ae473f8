#!lua flags=allow-oom
-- Remove a consumer that has nothing left: with its pending entries Redis would forget them, too.
-- KEYS  1 event stream
-- ARGV  1 group  2 consumer
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
