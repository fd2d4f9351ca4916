--[[
  load: sets a tenant's state from recorded facts. A tenant that is loaded keeps its state; only limits that are new
  to it are added, and their share of the open holds with them.

  KEYS 1 quota     hash, see limit-state
       2 holds     hash: job id → hold, see limit-state
       3 expiries  zset: job id by expiry (Unix ms)
  ARGV 1 limits, see limit-state  2 posted (JSON: limit name → units used by settled jobs:
       of a rate within its last window, of a quota in the current period)
       3 open holds (JSON list of { jobId, tokens, expiresAtMs, acceptedAtMs })
  Returns { 'loaded' | 'kept', now (Unix ms) }
       or { 'stale', now } when the period the facts are of is over, or has not begun; then nothing changes
]]
local quota, holds, expiries = KEYS[1], KEYS[2], KEYS[3]
local limits, posted, open = read_limits(ARGV[1]), cjson.decode(ARGV[2]), cjson.decode(ARGV[3])
local now = redis_now_ms()

local loaded = redis.call('HEXISTS', quota, 'loaded') == 1
local added = {}
for _, limit in ipairs(limits) do
  local text = loaded and redis.call('HGET', quota, limit.name)
  if not read_state(text, limit.kind) then
    local state, since
    if limit.kind == 'rate' then
      state = { kind = 'rate', max = limit.max, window = limit.window, credit = (limit.max - (posted[limit.name] or 0)) * limit.window, at = now }
      since = now - limit.window
    else
      if now < limit.starts or now >= limit.ends then return { 'stale', now } end
      state = { kind = 'quota', id = limit.id, ends = limit.ends, held = 0, used = posted[limit.name] or 0, overage = 0 }
      since = limit.starts
    end
    added[#added + 1] = { name = limit.name, state = state, since = since }
  end
end
if loaded and #added == 0 then return { 'kept', now } end
if not loaded then redis.call('DEL', quota, holds, expiries) end

for _, hold in ipairs(open) do
  local text = loaded and redis.call('HGET', holds, hold.jobId)
  if text or not loaded then
    local key, owner, takes = read_hold(text or '\n\n')
    for _, new in ipairs(added) do
      if hold.acceptedAtMs >= new.since then
        take(new.state, hold.tokens)
        local n = #takes
        takes[n + 1], takes[n + 2], takes[n + 3] = new.name, hold.tokens, new.state.id or false
      end
    end
    redis.call('HSET', holds, hold.jobId, write_hold(key, owner, takes))
    if not loaded then redis.call('ZADD', expiries, whole(hold.expiresAtMs), hold.jobId) end
  end
end
for _, new in ipairs(added) do redis.call('HSET', quota, new.name, write_state(new.state)) end
if not loaded then redis.call('HSET', quota, 'loaded', whole(now)) end
return { 'loaded', now }
