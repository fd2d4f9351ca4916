--[[
  age: lets time pass for keys that expire.

  ARGV 1 prefix  2 by how much (ms); less than 0 = the clock is set back
]]
local by = tonumber(ARGV[2])
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 and left <= by then redis.call('DEL', key)
  elseif left >= 0 then redis.call('PEXPIRE', key, string.format('%.0f', left - by)) end
end
