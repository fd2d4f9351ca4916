--[[
  commit: makes what was staged the state of a tenant, but for the holds of jobs that were settled meanwhile: those
  end. Whatever was there before is gone.

  KEYS 1 quota     hash, see scope-state
       2 expiries  zset: job id by expiry (Unix ms)
       3 load      hash of the load under way, see begin
       4 staged    hash, see stage
       5 leaving   zset, see stage
  ARGV 1 the ticket  2 era  3 cover, see scope-state
       4, 5 from when to when the periods last that the facts are of (Unix ms)  6, 7 how many fields and holds were staged
       8 since when accepted jobs have their idempotency keys here (Unix ms; '' = now)
  Returns { 'loaded', now (Unix ms), number of holds that ended } or { 'superseded', now }
       or { 'stale', now } when such a period is over, or has not begun; then nothing changes
]]
local quota, expiries, load, staged, leaving = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, ended = redis_now_ms(), 0
if redis.call('HGET', load, 'ticket') ~= ARGV[1] then return { 'superseded', now } end
-- A part that was evicted has to be staged again.
local is_whole = redis.call('HLEN', staged) == tonumber(ARGV[6]) and redis.call('ZCARD', leaving) == tonumber(ARGV[7])
if not is_whole then return { 'superseded', now } end
if now < tonumber(ARGV[4]) or now >= tonumber(ARGV[5]) then return { 'stale', now } end

local keys_since = ARGV[8] ~= '' and ARGV[8] or whole(now)
local notes = redis.call('HGETALL', load)
for i = 1, #notes, 2 do
  local job_id = string.match(notes[i], '^n:(.*)$')
  local hold = job_id and redis.call('HGET', staged, 'h:' .. job_id)
  if hold then
    local tokens, nano = string.match(notes[i + 1], '^(%d+) (%d+)$')
    end_hold_of(staged, job_id, hold, now, 1, tonumber(tokens), tonumber(nano))
    redis.call('ZREM', leaving, job_id)
    ended = ended + 1
  end
end
redis.call('HSET', staged, 'loaded', ARGV[2] .. ' ' .. keys_since, 'cover', ARGV[3])
redis.call('UNLINK', quota, expiries, load)
redis.call('RENAME', staged, quota)
redis.call('PERSIST', quota)
if redis.call('EXISTS', leaving) == 1 then
  redis.call('RENAME', leaving, expiries)
  redis.call('PERSIST', expiries)
end
return { 'loaded', now, ended }
