--[[
  progress: notes that a job is in its queue, or that it is being run. A job that is further on, or forgotten, stays as
  it is.

  KEYS 1 job   string: "<state>\n<facts>"; reserved ─▶ queued ─▶ running ─▶ terminal
  ARGV 1 the state to note: queued or running
  Returns { noted (1 or 0), now (Unix ms) }
]]
local job, state = KEYS[1], ARGV[1]
local now = redis_now_ms()

local known = redis.call('GET', job)
local facts = known and string.match(known, '^reserved(\n.*)$')
if known and not facts and state == 'running' then facts = string.match(known, '^queued(\n.*)$') end
if not facts then return { 0, now } end
redis.call('SET', job, state .. facts, 'KEEPTTL')
return { 1, now }
