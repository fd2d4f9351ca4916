--[[
  reserve: holds a job's amounts on every limit of its three scopes, or on none.

  KEYS 1 quota     hash, see scope-state
       2 expiries  zset: job id by expiry (Unix ms)
       3 job       string: "<state>\n<facts>" of this job
       4 idem      string: "<job id>\n<fingerprint>"; untouched when there is no idempotency key
       5 learned   hash, see learned; untouched when no quantile is asked for
  ARGV 1 era  2 job id  3 owner  4 the hold between owner and time, see scope-state
       5 tokens  6 nanoUsd  7 hold TTL (ms)  8 facts  9 snapshot TTL (ms)
       10 idempotency key hash ('' = none)  11 fingerprint  12 idempotency TTL (ms)  13 '1' = the records know no such key
       14 model  15 quantile ('' = none)
       16, 18, 20 field of a scope  17, 19, 21 version of its definitions
       22 when the job was accepted, as the ledger has it (Unix ms; '' = now)
       23, 24, 25 the definitions; may be absent
  Returns { outcome, now (Unix ms), subject, clears in, learned ("<tokens> <samples>" or nil), three scopes (or nil) }
    reserved                 the scopes as they are now
    refused                  subject: "<number of the scope> <number of the limit in it>" that clears last; clears in:
                             ms, -1 = never
    exists                   subject: the job; an open hold of it now belongs to `owner`; clears in: see conflict
    conflict                 subject: the job; clears in: 0 = its key leads to it, and nothing is held for it, otherwise 1;
                             nothing follows
    define                   the definitions are needed; nothing follows
    stale                    clears in: ms after which a job that is accepted then lies in the current periods
    key_unknown, not_loaded  nothing follows
]]
local quota, expiries, job, idem, learned = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local era, job_id, key_hash, fingerprint = ARGV[1], ARGV[2], ARGV[10], ARGV[11]
local owner, snapshot, snapshot_ttl, quantile = ARGV[3], 'reserved\n' .. ARGV[8], ARGV[9], ARGV[15]
local clock, hold_field = redis_now_ms(), 'h:' .. job_id
local now = clock

local stored = redis.call('HMGET', quota, 'loaded', ARGV[16], ARGV[18], ARGV[20], hold_field)
if not is_loaded(stored[1], era) then return { 'not_loaded', clock } end
local scopes, names, adopted = {}, nil, {}
for s = 1, 3 do
  if stored[s + 1] then
    scopes[s] = read_scope(stored[s + 1])
    now = most(now, later(scopes[s][3], clock))
  end
end

local made, ahead, cover = tonumber(ARGV[22]) or now, 0, nil
local function covered(name)
  cover = cover or redis.call('HGET', quota, 'cover') or ''
  return string.find(cover, ' ' .. name .. ' ', 1, true)
end
for s = 1, 3 do
  local t, version = scopes[s], tonumber(ARGV[15 + 2 * s])
  if not t or t[2] ~= version or now >= t[4] then
    if not ARGV[23] then return { 'define', clock } end
    names = names or redis.call('HMGET', quota, 'n:' .. ARGV[16], 'n:' .. ARGV[18], 'n:' .. ARGV[20])
    scopes[s], adopted[s] = adopt(t, names[s] or '', version, cjson.decode(ARGV[22 + s]), now, covered)
    if not scopes[s] then return { 'not_loaded', clock } end
    ahead = most(ahead, scopes[s].ahead or 0)
    stored[s + 1] = write_scope(scopes[s])
  end
end

if ahead > 0 then return { 'stale', clock, '', ahead } end

local function reply(outcome, subject, clears_in)
  local histogram = quantile ~= '' and redis.call('HGET', learned, ARGV[14])
  local known = histogram and read_learned(histogram, tonumber(quantile)) or false
  return { outcome, clock, subject, clears_in, known, stored[2], stored[3], stored[4] }
end

local known = key_hash ~= '' and redis.call('GET', idem)
local known_job, known_fingerprint = string.match(known or '', '^([^\n]*)\n(.*)$')
local same_job, hold = known_job or job_id, stored[5]
if same_job ~= job_id then hold = redis.call('HGET', quota, 'h:' .. same_job) end
if known_job and known_fingerprint ~= fingerprint then return { 'conflict', clock, known_job, hold and 1 or 0 } end
if hold then
  redis.call('HSET', quota, 'h:' .. same_job, owner .. string.match(hold, '\n.*$'))
  if same_job == job_id then redis.call('SET', job, snapshot, 'PX', snapshot_ttl, 'NX') end
end
if hold or known_job then return reply('exists', same_job, hold and 1 or 0) end
if key_hash ~= '' and ARGV[13] ~= '1' then
  local keys_since = tonumber(string.match(stored[1], ' (%d+)$'))
  if now - keys_since < tonumber(ARGV[12]) then
    if redis.call('EXISTS', job) == 1 then return reply('exists', job_id, 1) end
    return { 'key_unknown', clock }
  end
end

local costs = by_code(1, tonumber(ARGV[5]), tonumber(ARGV[6]))
local clears_in, refused_by, refused_at, off = 0, nil, nil, 0
for s = 1, 3 do
  local wait, at, misdated = take(scopes[s], now, made, costs, expiries)
  -- The ledger knows what the periods before a step of the clock have used.
  if misdated == -1 then return { 'not_loaded', clock } end
  off = most(off, misdated or 0)
  if wait and clears_in ~= -1 and (wait == -1 or wait > clears_in) then
    clears_in, refused_by, refused_at = wait, s, at
  end
end
if off > 0 then return { 'stale', clock, '', off } end
if refused_by then
  if redis.call('EXISTS', job) == 1 then return reply('exists', job_id, 1) end
  return reply('refused', refused_by .. ' ' .. refused_at, clears_in)
end

if not redis.call('SET', job, snapshot, 'PX', snapshot_ttl, 'NX') then return reply('exists', job_id, 1) end
local fields = { hold_field, owner .. '\n' .. ARGV[4] .. whole(made) }
for s = 1, 3 do
  local t = scopes[s]
  if adopted[s] or t[1] > HEADER then
    local f, field, text = #fields, ARGV[14 + 2 * s], write_scope(t)
    stored[s + 1], fields[f + 1], fields[f + 2] = text, field, text
    if adopted[s] then fields[f + 3], fields[f + 4] = 'n:' .. field, adopted[s] end
  end
end
redis.call('HSET', quota, unpack(fields))
redis.call('ZADD', expiries, whole(now + ARGV[7]), job_id)
if key_hash ~= '' then redis.call('SET', idem, job_id .. '\n' .. fingerprint, 'PX', ARGV[12]) end
return reply('reserved', '', 0)
