-- Reserves tokens in three windows at once, all or nothing. The plainest form that still keeps every hold.
--
-- KEYS[1]  hash: limits per window, fields minute, hour, day (tokens)
-- KEYS[2]  hash: counters per window, field <window>:<number>, and held (tokens)
-- KEYS[3]  sorted set: job id by the time its hold expires (Unix ms)
-- KEYS[4]  string: the tokens this job holds; expires with the hold
-- ARGV[1]  now (Unix ms)
-- ARGV[2]  cost (tokens)
-- ARGV[3]  job id
-- ARGV[4]  lifetime of the hold (ms)
-- Returns  1 reserved, 0 over a limit, -1 tenant without limits
local now, cost, jobId, holdMs = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local limits = redis.call('HMGET', KEYS[1], 'minute', 'hour', 'day')
if not limits[1] then return -1 end

local windows = {
  'minute:' .. math.floor(now / 60000),
  'hour:' .. math.floor(now / 3600000),
  'day:' .. math.floor(now / 86400000),
}
local used = redis.call('HMGET', KEYS[2], windows[1], windows[2], windows[3])
for i = 1, 3 do
  if tonumber(used[i] or 0) + cost > tonumber(limits[i]) then return 0 end
end
for i = 1, 3 do redis.call('HINCRBY', KEYS[2], windows[i], cost) end
redis.call('HINCRBY', KEYS[2], 'held', cost)
redis.call('ZADD', KEYS[3], now + holdMs, jobId)
redis.call('SET', KEYS[4], cost, 'PX', holdMs)
return 1
