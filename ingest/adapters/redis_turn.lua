#!lua flags=allow-oom
-- Take a turn, hold it longer, or give it back.
-- KEYS  1 whose turn it is
-- ARGV  1 our token  2 for how long, in ms; 0 gives it back
-- Returns 1 where it is ours. It takes next to nothing, and in a Redis that is full it is what makes room again.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
