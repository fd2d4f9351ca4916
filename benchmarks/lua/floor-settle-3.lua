-- Turns a hold into use. A second call for the same job changes nothing.
--
-- KEYS[1]  hash: counters, fields held and used (tokens)
-- KEYS[2]  sorted set: job id by the time its hold expires (Unix ms)
-- KEYS[3]  string: the tokens this job holds
-- ARGV[1]  job id
-- ARGV[2]  tokens really used
-- Returns  1 settled, 0 no such hold
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'held', -tonumber(redis.call('GET', KEYS[3]) or 0))
redis.call('HINCRBY', KEYS[1], 'used', ARGV[2])
redis.call('DEL', KEYS[3])
return 1
