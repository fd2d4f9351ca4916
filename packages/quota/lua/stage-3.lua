--[[
  stage: puts a part of a tenant's new state aside, until `commit` makes it the state.

  KEYS 1 load      hash of the load under way, see begin
       2 staged    hash: what becomes `quota`
       3 leaving   zset: what becomes `expiries`
  ARGV 1 the ticket  2 how long the parts are kept (ms)  3 number of scopes
       then for each scope: field, scope (its `at` becomes now); for each hold: job id, hold, expiry (Unix ms)
  Returns { 'staged', now (Unix ms) } or { 'superseded', now }
]]
local load, staged, leaving = KEYS[1], KEYS[2], KEYS[3]
local scopes, now = tonumber(ARGV[3]), redis_now_ms()
if redis.call('HGET', load, 'ticket') ~= ARGV[1] then return { 'superseded', now } end

for i = 4, 2 + 2 * scopes, 2 do
  local text = ARGV[i + 1]
  redis.call('HSET', staged, ARGV[i], sub(text, 1, 16) .. struct.pack('d', now) .. sub(text, 25))
end
for i = 4 + 2 * scopes, #ARGV, 3 do
  redis.call('HSET', staged, 'h:' .. ARGV[i], ARGV[i + 1])
  redis.call('ZADD', leaving, ARGV[i + 2], ARGV[i])
end
redis.call('PEXPIRE', staged, ARGV[2])
redis.call('PEXPIRE', leaving, ARGV[2])
return { 'staged', now }
