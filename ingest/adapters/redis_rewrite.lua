#!lua flags=allow-oom
-- Add an event, if there is one, and replace the whole ledger under a new generation, for the holder of the lease who
-- knows the current one.
-- KEYS  1 lease  2 ledger  3 event stream  4 octets in the stream  5 refusals of the shard
-- ARGV  1 token  2 header as known (16)  3 expected length  4 new value (header and records)
--       5 event id ("" for none)  6 type  7 event  8 cap of the stream in octets  9 field of a resolved refusal or ""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 'fenced'
end
local header = redis.call('GETRANGE', KEYS[2], 0, 15)
if header == string.sub(ARGV[4], 1, 16) then
  return 'already'
end
local length = redis.call('STRLEN', KEYS[2])
if length ~= tonumber(ARGV[3]) or (length > 0 and header ~= ARGV[2]) then
  return 'moved'
end
if ARGV[5] ~= '' then
  local found = redis.call('TYPE', KEYS[3])['ok']
  if found ~= 'none' and found ~= 'stream' then
    return 'type'
  end
  if tonumber(redis.call('GET', KEYS[4]) or 0) + #ARGV[7] > tonumber(ARGV[8]) then
    return 'full'
  end
  redis.call('XADD', KEYS[3], '*', 'id', ARGV[5], 'type', ARGV[6], 'event', ARGV[7])
  redis.call('INCRBY', KEYS[4], #ARGV[7])
end
redis.call('SET', KEYS[2], ARGV[4])
if ARGV[9] ~= '' then
  redis.call('HDEL', KEYS[5], ARGV[9])
end
return 'done'
