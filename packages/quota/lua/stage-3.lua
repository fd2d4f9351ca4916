--[[
  stage: puts a part of a tenant's new state aside, until `commit` makes it the state.

  KEYS 1 load      hash of the load under way, see begin
       2 staged    hash: what becomes `quota`
       3 leaving   zset: what becomes `expiries`
  ARGV 1 the ticket  2 how long the parts are kept (ms)  3 number of scopes
       then for each scope: field, scope (its `at` becomes now), names; for each hold: job id, hold, expiry (Unix ms)
  Returns { 'staged', now (Unix ms) } or { 'superseded', now }
]]
local load, staged, leaving = KEYS[1], KEYS[2], KEYS[3]
local scopes, now = tonumber(ARGV[3]), redis_now_ms()
if redis.call('HGET', load, 'ticket') ~= ARGV[1] then return { 'superseded', now } end

for i = 4, 3 * scopes + 1, 3 do
  local field, text = ARGV[i], ARGV[i + 1]
  local scope = sub(text, 1, 16) .. struct.pack('d', now) .. sub(text, 25)
  redis.call('HSET', staged, field, scope, 'n:' .. field, ARGV[i + 2])
end
for i = 4 + 3 * scopes, #ARGV, 3 do
  redis.call('HSET', staged, 'h:' .. ARGV[i], ARGV[i + 1])
  redis.call('ZADD', leaving, ARGV[i + 2], ARGV[i])
end
redis.call('PEXPIRE', staged, ARGV[2])
redis.call('PEXPIRE', leaving, ARGV[2])
return { 'staged', now }
