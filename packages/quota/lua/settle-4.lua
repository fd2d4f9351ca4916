--[[
  settle: ends the hold of a job with what it really used, notes its terminal state, wakes who waits for it.

  KEYS 1 quota     hash, see limit-state
       2 holds     hash: job id → hold, see limit-state
       3 expiries  zset: job id by expiry (Unix ms)
       4 job       string: "<state>\n<facts>", see reserve
  ARGV 1 job id  2 used (units)  3 terminal state  4 least TTL of the snapshot (ms)  5 channel of the job's waiters
  Returns { outcome, now (Unix ms) }; outcome 'settled', or 'missing' when there is no hold: then no limit changes,
  but the state is noted and waiters are woken, for the hold may have been lost while the job was not.
]]
local quota, holds, expiries, job = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local job_id, used, state, least_ttl, channel = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local now = redis_now_ms()

local known = redis.call('GET', job)
local facts = known and string.match(known, '\n.*$')
if facts then redis.call('SET', job, state .. facts, 'PX', whole(most(least_ttl, redis.call('PTTL', job)))) end
redis.call('PUBLISH', channel, job_id)
local hold = redis.call('HGET', holds, job_id)
if not hold then return { 'missing', now } end

local _, _, takes = read_hold(hold)
end_hold(quota, takes, used, now)
redis.call('HDEL', holds, job_id)
redis.call('ZREM', expiries, job_id)
return { 'settled', now }
