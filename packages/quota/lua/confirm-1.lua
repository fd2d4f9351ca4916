--[[
  confirm: notes that a reserved job is in its queue. Changes nothing for a job that is further on, or forgotten.

  KEYS 1 job   string: "<state>\n<facts>", see reserve
  ARGV 1 the state to note
  Returns { noted (1 or 0), now (Unix ms) }
]]
local job, state = KEYS[1], ARGV[1]
local now = redis_now_ms()

local known = redis.call('GET', job)
local facts = known and string.match(known, '^reserved(\n.*)$')
if not facts then return { 0, now } end
redis.call('SET', job, state .. facts, 'KEEPTTL')
return { 1, now }
