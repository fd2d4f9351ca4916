--[[
  begin: begins to load a tenant. From now on it is not loaded, and settlements leave a note with the load.

  KEYS 1 quota     hash, see scope-state
       2 load      hash: `ticket`; `until` when it counts as alive (Unix ms); and n:<job> → "tokens nanoUsd" for each job
                   that was settled since
       3 staged    hash: what becomes `quota`
       4 leaving   zset: what becomes `expiries`
  ARGV 1 the ticket, which ends with the era  2 era  3 how long the ticket is valid (ms)
       4 how long the load counts as alive without a further sign (ms)  5 '1' = only where it is needed
       6, 8 … field of a scope  7, 9 … JSON list of { name, code }: limits that must be known of it
  Returns { 'begun', now (Unix ms) }; where it is not needed, and then nothing changes,
       or { 'loaded', now } when the tenant is loaded and knows these limits
       or { 'busy', now } when another load of it is alive
]]
local quota, load, staged, leaving = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ticket, era, alive = ARGV[1], ARGV[2], tonumber(ARGV[4])
local now = redis_now_ms()

local function knows(field, limits, cover)
  local stored = redis.call('HMGET', quota, field, 'n:' .. field)
  local t = stored[1] and read_scope(stored[1])
  if t and is_early(t, later(t[3], now)) then return false end
  local at = t and index_of(t, stored[2] or '')
  for _, limit in ipairs(limits) do
    local name, code = limit[1], limit[2]
    if t and t[at[name]] ~= code then return false end
    if not t and not string.find(cover, ' ' .. name .. ' ', 1, true) then return false end
  end
  return true
end

local function is_ready()
  local stored = redis.call('HMGET', quota, 'loaded', 'cover')
  if not is_loaded(stored[1], era) then return false end
  for i = 6, #ARGV, 2 do
    if not knows(ARGV[i], cjson.decode(ARGV[i + 1]), stored[2] or '') then return false end
  end
  return true
end

local function is_busy()
  local other = redis.call('HMGET', load, 'ticket', 'until')
  local left = tonumber(other[2] or 0) - now
  -- n.b. more is left than there can be when the clock was set back.
  return other[1] and sub(other[1], -#era) == era and left > 0 and left <= alive
end

if ARGV[5] == '1' then
  if is_ready() then return { 'loaded', now } end
  if is_busy() then return { 'busy', now } end
end
redis.call('HDEL', quota, 'loaded')
-- Earlier notes are of jobs whose end was recorded before, so the records that will be read have it.
redis.call('UNLINK', load, staged, leaving)
redis.call('HSET', load, 'ticket', ticket, 'until', whole(now + alive))
redis.call('PEXPIRE', load, ARGV[3])
return { 'begun', now }
