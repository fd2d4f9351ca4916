--[[
  settle: ends the hold of a job with what it really used, notes its terminal state, wakes who waits for it.

  KEYS 1 quota     hash, see scope-state
       2 expiries  zset: job id by expiry (Unix ms)
       3 job       string: "<state>\n<facts>"
       4 load      hash of a load under way: its ticket, and what was settled since it began, see begin
       5 learned   hash, see learned
  ARGV 1 era  2 job id  3 tokens used  4 nanoUsd used  5 output tokens  6 terminal state
       7 least TTL of the snapshot (ms)  8 channel of the job's waiters  9 most notes that a load keeps
  Returns { outcome, now (Unix ms) }
    settled
    missing  there is no such hold: no limit changes
    early    the tenant is not loaded: a load under way, if there is one, takes note
  In each case the state is noted and waiters are woken, for the hold may have been lost while the job was not.
]]
local quota, expiries, job, load, learned = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local job_id, tokens, nano, state = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[6]
local now = redis_now_ms()

-- n.b. first of all writes: a full Redis lets a script write only whose first write frees memory.
redis.call('ZREM', expiries, job_id)
local known = redis.call('GET', job)
local facts = known and string.match(known, '\n.*$')
if facts then redis.call('SET', job, state .. facts, 'PX', whole(most(ARGV[7], redis.call('PTTL', job)))) end
redis.call('PUBLISH', ARGV[8], job_id)

local stored = redis.call('HMGET', quota, 'loaded', 'h:' .. job_id)
local hold = stored[2]
if not is_loaded(stored[1], ARGV[1]) then
  local ticket = redis.call('HGET', load, 'ticket')
  if ticket then
    redis.call('HSETNX', load, 'n:' .. job_id, ARGV[3] .. ' ' .. ARGV[4])
    -- A note must not be lost, nor be in another form than the load's: rather the load has to begin anew.
    local is_kept = sub(ticket, -#ARGV[1]) == ARGV[1] and redis.call('HLEN', load) <= tonumber(ARGV[9])
    if not is_kept then redis.call('DEL', load) end
  end
  redis.call('HDEL', quota, 'loaded', 'h:' .. job_id)
  return { 'early', now }
end
if not hold then return { 'missing', now } end

local learns, model = end_hold_of(quota, job_id, hold, now, 1, tokens, nano)
if learns and state == 'succeeded' then
  redis.call('HSET', learned, model, learn(redis.call('HGET', learned, model), tonumber(ARGV[5])))
end
return { 'settled', now }
