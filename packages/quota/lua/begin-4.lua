--[[
  begin: begins to load a tenant. From now on it is not loaded, and settlements leave a note with the load.

  KEYS 1 quota     hash, see scope-state
       2 load      hash: `ticket`, and n:<job> → "tokens nanoUsd" for each job that was settled since
       3 staged    hash: what becomes `quota`
       4 leaving   zset: what becomes `expiries`
  ARGV 1 the ticket, which holds the run id  2 how long it is valid (ms)
  Returns { 'begun', now (Unix ms) }
]]
local quota, load, staged, leaving = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
redis.call('HDEL', quota, 'loaded')
-- Earlier notes are of jobs whose end was recorded before, so the records that will be read have it.
redis.call('UNLINK', load, staged, leaving)
redis.call('HSET', load, 'ticket', ARGV[1])
redis.call('PEXPIRE', load, ARGV[2])
return { 'begun', redis_now_ms() }
