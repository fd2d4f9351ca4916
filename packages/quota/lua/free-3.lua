--[[
  free: frees an idempotency key whose job was never accepted: a load has dropped its hold, for the records do not know
  it. Only for a key that the records do not know.

  KEYS 1 quota  hash, see scope-state
       2 job    string: "<state>\n<facts>" of that job
       3 idem   string: "<job id>\n<fingerprint>"
  ARGV 1 era  2 job id
  Returns { freed (1 or 0), now (Unix ms) }; 0 when the tenant is not loaded, the key leads elsewhere, or the job is held or
  known to have been queued
]]
local quota, job, idem = KEYS[1], KEYS[2], KEYS[3]
local job_id, now = ARGV[2], redis_now_ms()

local stored = redis.call('HMGET', quota, 'loaded', 'h:' .. job_id)
if not is_loaded(stored[1], ARGV[1]) or stored[2] then return { 0, now } end
local snapshot, known = redis.call('GET', job), redis.call('GET', idem)
if snapshot and not string.find(snapshot, '^reserved\n') then return { 0, now } end
if not known or string.match(known, '^[^\n]*') ~= job_id then return { 0, now } end
redis.call('DEL', job, idem)
return { 1, now }
