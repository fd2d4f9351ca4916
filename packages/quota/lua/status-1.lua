--[[
  status: how far each limit is used now. Writes nothing.

  KEYS 1 quota   hash, see limit-state
  ARGV 1 limits, see limit-state
  Returns { 'loaded', now (Unix ms), (used, held, overage, remaining, resets in (ms)) per limit }
       or { 'not_loaded', now } when the tenant or one of the limits is unknown
]]
local quota, limits = KEYS[1], read_limits(ARGV[1])
local now = redis_now_ms()

local names = { 'loaded' }
for i, limit in ipairs(limits) do names[i + 1] = limit.name end
local stored = redis.call('HMGET', quota, unpack(names))
if not stored[1] then return { 'not_loaded', now } end

local reply = { 'loaded', now }
for i, limit in ipairs(limits) do
  local state = read_state(stored[i + 1], limit.kind)
  if not state then return { 'not_loaded', now } end
  advance(state, limit, now)
  describe(reply, state, limit, now)
end
return reply
