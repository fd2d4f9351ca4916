--[[
  dump: all that a Redis keeps under a prefix, at one moment.

  ARGV 1 prefix
  Returns for each key { key, type, what it holds … }
]]
local contents = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', key).ok
  local parts
  if kind == 'string' then parts = { redis.call('GET', key) } end
  if kind == 'hash' then parts = redis.call('HGETALL', key) end
  if kind == 'zset' then parts = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  if kind == 'set' then parts = redis.call('SMEMBERS', key) end
  contents[#contents + 1] = { key, kind, unpack(parts) }
end
return contents
