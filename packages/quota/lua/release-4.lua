--[[
  release: ends the hold of a job that used nothing, its request included, and forgets the job, so that its idempotency
  key is free again.

  KEYS 1 quota     hash, see scope-state
       2 expiries  zset: job id by expiry (Unix ms)
       3 job       string: "<state>\n<facts>"
       4 idem      string of the idempotency key that the hold names: "<job id>\n<fingerprint>"
  ARGV 1 era  2 job id  3 owner  4 '1' = whoever owns the hold
  Returns { released (1 or 0), now (Unix ms) }; 0 when there is no hold or another owner has it. Where the tenant is not
  loaded the hold and the job are forgotten, and the limits wait for their load.
]]
local quota, expiries, job, idem = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local job_id, owner, whoever = ARGV[2], ARGV[3], ARGV[4] == '1'
local now = redis_now_ms()

local stored = redis.call('HMGET', quota, 'loaded', 'h:' .. job_id)
local hold = stored[2]
if not hold then
  -- An expiry without a hold would be found for ever.
  if whoever then redis.call('ZREM', expiries, job_id) end
  return { 0, now }
end
if string.match(hold, '^[^\n]*') ~= owner and not whoever then return { 0, now } end

-- n.b. first of all writes: a full Redis lets a script write only whose first write frees memory.
redis.call('ZREM', expiries, job_id)
if is_loaded(stored[1], ARGV[1]) then
  end_hold_of(quota, job_id, hold, now, 0, 0, 0)
else
  redis.call('HDEL', quota, 'loaded', 'h:' .. job_id)
end
redis.call('DEL', job)
local known = redis.call('GET', idem)
if known and string.match(known, '^[^\n]*') == job_id then redis.call('DEL', idem) end
return { 1, now }
