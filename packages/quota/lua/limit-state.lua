--[[
  limit-state: how a limit is kept, and what can be done to it. Not a command: every command of this folder begins
  with this text, so all of them agree on it.

  A tenant's `quota` hash has the field `loaded` (Unix ms of the load) and one field per limit, named like the limit:

    rate   "rate <max> <windowMs> <credit> <atMs>"                   max: units per window, 1 unit = 1 token
    quota  "quota <periodId> <endsAtMs> <held> <used> <overage>"     units

  `credit` is units × windowMs, so that one millisecond refills exactly `max` and no fraction is ever rounded; it is
  capped at max × windowMs and may be negative. `overage` is the part of `used` that went beyond the holds.
  n.b. all numbers are whole and below 2^53; Lua's tostring() would write large ones as 6e+13.
]]
local floor, ceil, least, most = math.floor, math.ceil, math.min, math.max

local function whole(number) return string.format('%.0f', number) end

local function redis_now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + floor(tonumber(time[2]) / 1000)
end

-- The state in a field, or nil when the field is absent or holds another kind.
local function read_state(kind, text)
  if not text then return nil end
  if kind == 'rate' then
    local max, window, credit, at = string.match(text, '^rate (%d+) (%d+) (%-?%d+) (%d+)$')
    if not max then return nil end
    return { max = tonumber(max), window = tonumber(window), credit = tonumber(credit), at = tonumber(at) }
  end
  local id, ends, held, used, overage = string.match(text, '^quota (%S+) (%d+) (%d+) (%d+) (%d+)$')
  if not id then return nil end
  return { id = id, ends = tonumber(ends), held = tonumber(held), used = tonumber(used), overage = tonumber(overage) }
end

local function write_state(kind, s)
  if kind == 'rate' then return table.concat({ 'rate', whole(s.max), whole(s.window), whole(s.credit), whole(s.at) }, ' ') end
  return table.concat({ 'quota', s.id, whole(s.ends), whole(s.held), whole(s.used), whole(s.overage) }, ' ')
end

local function refill(s, now)
  s.credit = least(s.max * s.window, s.credit + most(0, now - s.at) * s.max)
  s.at = most(s.at, now)
end

-- The caller names two periods, `now` decides: its clock only has to be right to within a period.
local function period_at(period, now)
  if now < period.endsAtMs then return period.id, period.endsAtMs end
  if now < period.nextEndsAtMs then return period.nextId, period.nextEndsAtMs end
  error('the periods of the caller are over')
end

-- Brings a state to `now` and to the limit as the caller knows it. A period ends when `now` passes the end that is
-- stored, whatever the caller says, so a caller whose clock is ahead cannot zero the counters early.
local function advance(s, limit, now)
  if limit.kind == 'rate' then
    refill(s, now)
    if s.window ~= limit.windowMs then s.credit = floor(s.credit / s.window) * limit.windowMs end
    s.max, s.window = limit.max, limit.windowMs
    s.credit = least(s.credit, s.max * s.window)
  elseif now >= s.ends then
    local id, ends = period_at(limit.period, now)
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

local function take(s, kind, amount)
  if kind == 'rate' then s.credit = s.credit - amount * s.window else s.held = s.held + amount end
end

-- Ends a hold of `amount` with `used` units really used. A quota whose period has turned since keeps its new counters.
local function give_back(s, kind, amount, used, period_id, now)
  if kind == 'rate' then
    refill(s, now)
    s.credit = least(s.max * s.window, s.credit + (amount - used) * s.window)
  elseif s.id == period_id then
    s.held, s.used, s.overage = s.held - amount, s.used + used, s.overage + most(0, used - amount)
  end
end

-- Gives back, on each limit that a hold took from, what the job did not use.
local function end_hold(quota, takes, used, now)
  local names, fields = {}, {}
  for i, taken in ipairs(takes) do names[i] = taken[1] end
  if #names == 0 then return end
  for i, text in ipairs(redis.call('HMGET', quota, unpack(names))) do
    local name, kind, amount, period_id = unpack(takes[i], 1, 4)
    local state = read_state(kind, text)
    if state then
      give_back(state, kind, tonumber(amount), used, period_id, now)
      fields[#fields + 1], fields[#fields + 2] = name, write_state(kind, state)
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
