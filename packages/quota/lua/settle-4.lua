--[[
  settle: ends the hold of a job with what it really used, keeps its terminal snapshot, wakes who waits for it.

  KEYS 1 quota     hash, see limit-state
       2 holds     hash: job id → hold, see limit-state
       3 expiries  zset: job id by expiry (Unix ms)
       4 job       string: snapshot of the job
  ARGV 1 job id  2 used (units)  3 snapshot  4 least TTL of the snapshot (ms)  5 channel of the job's waiters
  Returns { outcome, now (Unix ms) }; outcome 'settled', or 'missing' when there is no hold: then nothing changes,
  but waiters are still woken, for the hold may have been lost while the job was not.
]]
local quota, holds, expiries, job = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local job_id, used, snapshot, least_ttl, channel = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local now = redis_now_ms()

local hold = redis.call('HGET', holds, job_id)
redis.call('PUBLISH', channel, job_id)
if not hold then return { 'missing', now } end

local _, _, takes = read_hold(hold)
end_hold(quota, takes, used, now)
redis.call('HDEL', holds, job_id)
redis.call('ZREM', expiries, job_id)
redis.call('SET', job, snapshot, 'PX', whole(most(least_ttl, redis.call('PTTL', job))))
return { 'settled', now }
