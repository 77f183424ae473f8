#!lua flags=allow-oom
-- Replace the whole ledger under a new generation, for the holder of the lease who knows the current one.
-- KEYS  1 lease  2 ledger
-- ARGV  1 token  2 header as known (16)  3 expected length  4 new value (header and records)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'fenced'
end
local header = redis.call('GETRANGE', KEYS[2], 0, 15)
if header == string.sub(ARGV[4], 1, 16) then
  return 'already'
end
if header ~= ARGV[2] or redis.call('STRLEN', KEYS[2]) ~= tonumber(ARGV[3]) then
  return 'moved'
end
redis.call('SET', KEYS[2], ARGV[4])
return 'done'
