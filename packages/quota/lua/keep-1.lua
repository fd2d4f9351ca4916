--[[
  keep: a sign that a load is alive, or that it was given up; the ticket stays valid.

  KEYS 1 load  hash of the load under way, see begin
  ARGV 1 the ticket  2 how long the load counts as alive from now (ms), 0 = given up
  Returns { kept (1 or 0), now (Unix ms) }; 0 when it was superseded
]]
local load, now = KEYS[1], redis_now_ms()
if redis.call('HGET', load, 'ticket') ~= ARGV[1] then return { 0, now } end
redis.call('HSET', load, 'until', whole(now + tonumber(ARGV[2])))
return { 1, now }
