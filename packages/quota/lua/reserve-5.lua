--[[
  reserve: holds `cost` on every limit, or on none.

  KEYS 1 quota     hash, see limit-state
       2 holds     hash: job id → hold, see limit-state
       3 expiries  zset: job id by expiry (Unix ms)
       4 job       string: "<state>\n<facts>" of this job; the state is 'reserved', 'queued' or terminal
       5 idem      string: "<job id>\n<fingerprint>"; untouched when there is no idempotency key
  ARGV 1 job id  2 owner  3 cost (units)  4 limits, see limit-state  5 hold TTL (ms)  6 facts  7 snapshot TTL (ms)
       8 idempotency key hash ('' = none)  9 fingerprint  10 idempotency TTL (ms)
  Returns { outcome, now (Unix ms), subject, clears in, (used, held, overage, remaining, resets in (ms)) per limit }
    reserved                subject ''
    refused                 subject: the (first) limit that clears last; clears in: ms, -1 = never
    exists                  subject: the job; an open hold of it now belongs to `owner`
    conflict, not_loaded    subject: the job, ''; no limits follow
]]
local quota, holds, expiries, job, idem = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local job_id, owner, cost, limits = ARGV[1], ARGV[2], tonumber(ARGV[3]), read_limits(ARGV[4])
local hold_ttl, snapshot, snapshot_ttl = tonumber(ARGV[5]), 'reserved\n' .. ARGV[6], ARGV[7]
local key_hash, fingerprint, idem_ttl = ARGV[8], ARGV[9], ARGV[10]
local now = redis_now_ms()

local names, states = { 'loaded' }, {}
for i, limit in ipairs(limits) do names[i + 1] = limit.name end
local stored = redis.call('HMGET', quota, unpack(names))
if not stored[1] then return { 'not_loaded', now, '', 0 } end
for i, limit in ipairs(limits) do
  states[i] = read_state(stored[i + 1], limit.kind)
  if not states[i] then return { 'not_loaded', now, '', 0 } end
  advance(states[i], limit, now)
end

local function reply(outcome, subject, clears_in)
  local list = { outcome, now, subject, clears_in }
  for i, limit in ipairs(limits) do describe(list, states[i], limit, now) end
  return list
end

local known = key_hash ~= '' and redis.call('GET', idem)
local known_job, known_fingerprint = string.match(known or '', '^([^\n]*)\n(.*)$')
if known_job and known_fingerprint ~= fingerprint then return { 'conflict', now, known_job, 0 } end
local same_job = known_job or job_id
local hold = redis.call('HGET', holds, same_job)
if hold then
  local key, _, takes = read_hold(hold)
  redis.call('HSET', holds, same_job, write_hold(key, owner, takes))
  if same_job == job_id then redis.call('SET', job, snapshot, 'PX', snapshot_ttl, 'NX') end
end
if hold or known_job or redis.call('EXISTS', job) == 1 then return reply('exists', same_job, 0) end

local refused_by, clears_in = '', 0
for i, limit in ipairs(limits) do
  local wait = shortage(states[i], limit, cost, now)
  if wait and clears_in ~= -1 and (wait == -1 or wait > clears_in) then refused_by, clears_in = limit.name, wait end
end
if refused_by ~= '' then return reply('refused', refused_by, clears_in) end

local fields, takes = {}, {}
for i, limit in ipairs(limits) do
  local state, f, t = states[i], #fields, #takes
  take(state, cost)
  fields[f + 1], fields[f + 2] = limit.name, write_state(state)
  takes[t + 1], takes[t + 2], takes[t + 3] = limit.name, cost, state.id or false
end
if #fields > 0 then redis.call('HSET', quota, unpack(fields)) end
redis.call('HSET', holds, job_id, write_hold(key_hash, owner, takes))
redis.call('ZADD', expiries, whole(now + hold_ttl), job_id)
redis.call('SET', job, snapshot, 'PX', snapshot_ttl)
if key_hash ~= '' then redis.call('SET', idem, job_id .. '\n' .. fingerprint, 'PX', idem_ttl) end
return reply('reserved', '', 0)
