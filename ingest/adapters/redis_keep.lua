#!lua flags=allow-oom
-- Say that a consumer is still at work on what was delivered to it.
-- KEYS  1 event stream
-- ARGV  1 group  2 consumer  3… ids
-- Returns the ids that are still its own: their idle time begins anew, and their deliveries stay as counted.
local kept = {}
for at = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1, ARGV[2]) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
    kept[#kept + 1] = ARGV[at]
  end
end
return kept
