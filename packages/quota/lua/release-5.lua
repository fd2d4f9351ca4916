--[[
  release: ends the hold of a job that used nothing and forgets the job, so that its idempotency key is free again.

  KEYS 1 quota     hash, see limit-state
       2 holds     hash: job id → hold, see limit-state
       3 expiries  zset: job id by expiry (Unix ms)
       4 job       string: "<state>\n<facts>", see reserve
       5 idem      string of the idempotency key that the hold names: "<job id>\n<fingerprint>"
  ARGV 1 job id  2 owner  3 '1' = whoever owns the hold
  Returns { released (1 or 0), now (Unix ms) }; 0 when there is no hold or another owner has it.
]]
local quota, holds, expiries, job, idem = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local job_id, owner, whoever = ARGV[1], ARGV[2], ARGV[3] == '1'
local now = redis_now_ms()

local hold = redis.call('HGET', holds, job_id)
if not hold then return { 0, now } end
local _, held_by, takes = read_hold(hold)
if held_by ~= owner and not whoever then return { 0, now } end

end_hold(quota, takes, 0, now)
redis.call('HDEL', holds, job_id)
redis.call('ZREM', expiries, job_id)
redis.call('DEL', job)
local known = redis.call('GET', idem)
if known and string.match(known, '^[^\n]*') == job_id then redis.call('DEL', idem) end
return { 1, now }
