--[[
  status: scopes as they are kept. Writes nothing.

  KEYS 1 quota   hash, see scope-state
  ARGV 1 era  2 … fields
  Returns { 'loaded', now (Unix ms), cover, what the fields hold or nil … } or { 'not_loaded', now }
]]
local now = redis_now_ms()
local stored = redis.call('HMGET', KEYS[1], 'loaded', 'cover', unpack(ARGV, 2))
if not is_loaded(stored[1], ARGV[1]) then return { 'not_loaded', now } end
return { 'loaded', now, unpack(stored, 2, #ARGV + 1) }
