--[[
  limit-state: how a limit is kept, and what can be done to it. Not a command: every command of this folder begins
  with this text, so all of them agree on it.

  A tenant's `quota` hash has the field `loaded` (Unix ms of the load) and one field per limit, named like the limit:

    rate   'rate', max, windowMs, credit, atMs                     max: units per window, 1 unit = 1 token
    quota  'quota', period id, endsAtMs, held, used, overage       units

  packed one after the other as MessagePack (measured: reading and writing text took a third of a reserve).
  `credit` is units × windowMs, so that one millisecond refills exactly `max` and no fraction is ever rounded; it is
  capped at max × windowMs and may be negative. `overage` is the part of `used` that went beyond the holds.

  A hold in the `holds` hash is "<idempotency key hash>\n<owner>\n" and then, also packed, for each limit it took
  from: name, amount, period id (false for a rate).
  n.b. all numbers are whole and below 2^53; where one becomes text use `whole`, tostring() writes 6e+13.
]]
local floor, ceil, least, most = math.floor, math.ceil, math.min, math.max

local function whole(number) return string.format('%.0f', number) end

local function redis_now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
end

-- The state in a field, or nil when the field is absent or of another kind than asked for (nil = any).
local function read_state(text, wanted)
  if not text then return nil end
  local kind, a, b, c, d, e = cmsgpack.unpack(text)
  if wanted and kind ~= wanted then return nil end
  if kind == 'rate' then return { kind = kind, max = a, window = b, credit = c, at = d } end
  return { kind = kind, id = a, ends = b, held = c, used = d, overage = e }
end

local function write_state(s)
  if s.kind == 'rate' then return cmsgpack.pack(s.kind, s.max, s.window, s.credit, s.at) end
  return cmsgpack.pack(s.kind, s.id, s.ends, s.held, s.used, s.overage)
end

-- A hold's key hash, owner, and its takes as one flat list.
local function read_hold(text)
  local key, owner, packed = string.match(text, '^([^\n]*)\n([^\n]*)\n(.*)$')
  return key, owner, packed == '' and {} or { cmsgpack.unpack(packed) }
end

local function write_hold(key, owner, takes)
  return key .. '\n' .. owner .. '\n' .. (#takes == 0 and '' or cmsgpack.pack(unpack(takes)))
end

local function refill(s, now)
  s.credit = least(s.max * s.window, s.credit + most(0, now - s.at) * s.max)
  s.at = most(s.at, now)
end

-- The caller's limits: a JSON list of { name, 'rate', max, windowMs } and
-- { name, 'quota', max, period id, its start, its end, the next period's id, its end (Unix ms) }.
local function read_limits(json)
  local limits = cjson.decode(json)
  for i, l in ipairs(limits) do
    if l[2] == 'rate' then
      limits[i] = { name = l[1], kind = l[2], max = l[3], window = l[4] }
    else
      limits[i] = { name = l[1], kind = l[2], max = l[3], id = l[4], starts = l[5], ends = l[6], next_id = l[7], next_ends = l[8] }
    end
  end
  return limits
end

-- The caller names two periods, `now` decides: its clock only has to be right to within a period.
local function period_at(limit, now)
  if now < limit.ends then return limit.id, limit.ends end
  if now < limit.next_ends then return limit.next_id, limit.next_ends end
  error('the periods of the caller are over')
end

-- Brings a state to `now` and to the limit as the caller knows it. A period ends when `now` passes the end that is
-- stored, whatever the caller says, so a caller whose clock is ahead cannot zero the counters early.
local function advance(s, limit, now)
  if limit.kind == 'rate' then
    refill(s, now)
    if s.window ~= limit.window then s.credit = floor(s.credit / s.window) * limit.window end
    s.max, s.window = limit.max, limit.window
    s.credit = least(s.credit, s.max * s.window)
  elseif now >= s.ends then
    local id, ends = period_at(limit, now)
    if id ~= s.id then s.held, s.used, s.overage = 0, 0, 0 end
    s.id, s.ends = id, ends
  end
end

-- Ms until `cost` would fit, -1 when it never will, nil when it fits now.
local function shortage(s, limit, cost, now)
  if cost > limit.max then return -1 end
  if limit.kind == 'rate' then
    local missing = cost * s.window - s.credit
    return missing > 0 and ceil(missing / s.max) or nil
  end
  return s.used + s.held + cost > limit.max and s.ends - now or nil
end

local function take(s, amount)
  if s.kind == 'rate' then s.credit = s.credit - amount * s.window else s.held = s.held + amount end
end

-- Gives back what was not used of `amount`. A quota whose period has turned since keeps its new counters.
local function give_back(s, amount, used, period_id, now)
  if s.kind == 'rate' and not period_id then
    refill(s, now)
    s.credit = least(s.max * s.window, s.credit + (amount - used) * s.window)
  elseif s.id == period_id then
    s.held, s.used, s.overage = s.held - amount, s.used + used, s.overage + most(0, used - amount)
  end
end

-- Ends a hold with `used` units really used, on each limit that it took from.
local function end_hold(quota, takes, used, now)
  local names, fields = {}, {}
  for i = 1, #takes, 3 do names[#names + 1] = takes[i] end
  if #names == 0 then return end
  for i, text in ipairs(redis.call('HMGET', quota, unpack(names))) do
    local state = read_state(text)
    if state then
      give_back(state, takes[3 * i - 1], used, takes[3 * i], now)
      fields[#fields + 1], fields[#fields + 2] = names[i], write_state(state)
    end
  end
  if #fields > 0 then redis.call('HSET', quota, unpack(fields)) end
end

-- Appends used, held, overage, remaining (units) and the ms until a limit is unused again.
local function describe(reply, s, limit, now)
  local n = #reply
  if limit.kind == 'rate' then
    local left = floor(s.credit / s.window)
    reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = most(0, s.max - left), 0, 0, most(0, left)
    reply[n + 5] = ceil((s.max * s.window - s.credit) / s.max)
  else
    reply[n + 1], reply[n + 2], reply[n + 3] = s.used, s.held, s.overage
    reply[n + 4], reply[n + 5] = most(0, limit.max - s.used - s.held), s.ends - now
  end
end
