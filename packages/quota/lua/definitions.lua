--[[
  definitions: brings a scope to the limits that a caller names. Not a command, see scope-state. It runs only when the
  definitions have another version than the scope, or a period has ended.

  Definitions are a JSON list of
    { name, code, ceiling, max, window }                              rate; a ceiling of -1 is infinite
    { name, code, ceiling, period, starts, ends, next, next_ends }    quota: this and the next period (Unix ms)
    { name, code, ceiling }                                           inFlight
]]
local LENGTHS = { 5, 5, 5, 8, 8, 8, 3, 3, 3 }

-- The index of each record by its name.
local function index_of(t, names)
  local at, i = {}, HEADER + 1
  for name in string.gmatch(names, '[^ ]+') do
    at[name] = i
    i = i + LENGTHS[t[i]]
  end
  return at
end

-- Whether a period of the scope has not begun: Redis' clock was set back.
local function is_early(t, now)
  local i = HEADER + 1
  while i <= t[1] do
    local code = t[i]
    if code > 3 and code <= 6 and t[i + 3] > now then return true end
    i = i + LENGTHS[code]
  end
  return false
end

-- The caller names two periods, `now` decides: its clock only has to be right to within a period.
local function period_at(definition, now)
  local period, starts, ends, next, next_ends = unpack(definition, 4)
  if now < ends then return period, starts, ends end
  if now < next_ends then return next, ends, next_ends end
  error('the periods of the caller are over')
end

-- Appends the record of a definition, which goes on from record `i` of `old` (nil = unused), where its bucket had
-- `refilled` ms to fill. A period ends when `now` passes the end that is stored, whatever the caller says, so a caller
-- whose clock is ahead cannot zero the counters early.
local function append(t, definition, old, i, refilled, now)
  local n, code, ceiling = #t, definition[2], definition[3] < 0 and huge or definition[3]
  t[n + 1], t[n + 2] = code, ceiling
  if code <= 3 then
    local max, window = definition[4], definition[5]
    local lack = i and most(0, old[i + 4] - refilled * old[i + 2]) or 0
    if i and old[i + 3] ~= window then lack = ceil(lack / old[i + 3]) * window end
    t[n + 3], t[n + 4], t[n + 5] = max, window, lack
  elseif code <= 6 then
    local period, since, ends, held, used, overage
    if i then period, since, ends, held, used, overage = unpack(old, i + 2, i + 7) end
    if not i or now >= ends then
      local was, ended = period, ends
      period, since, ends = period_at(definition, now)
      if period == was then
        since = old[i + 3]
      else
        since, held, used, overage = most(since, ended or 0), 0, 0, 0
        -- The caller's clock is ahead: its period has not begun.
        if since > now then t.ahead = most(t.ahead or 0, since - now) end
      end
    end
    t[n + 3], t[n + 4], t[n + 5], t[n + 6], t[n + 7], t[n + 8] = period, since, ends, held, used, overage
    t[4] = least(t[4], ends)
  else
    t[n + 3] = i and old[i + 2] or 0
  end
end

-- The scope with the caller's limits, and its names. Limits that the caller does not name go on being counted and refuse
-- nothing, until their period ends. `ahead` of the scope is the ms until all periods of the caller have begun. Nil when a limit is unknown: `covered(name)` says of an absent scope that it is
-- unused.
local function adopt(old, names, version, definitions, now, covered)
  local t, list = { 0, version, now, huge }, {}
  local known = old and index_of(old, names) or {}
  local refilled = old and most(0, now - old[3]) or 0
  for _, definition in ipairs(definitions) do
    local name, code = definition[1], definition[2]
    local i = known[name]
    if old and (not i or old[i] ~= code) then return nil end
    if not old and not covered(name) then return nil end
    append(t, definition, old, i, refilled, now)
    list[#list + 1], known[name] = name, nil
  end
  for name in string.gmatch(names, '[^ ]+') do
    local i = known[name]
    local is_over = i and old[i] > 3 and old[i] <= 6 and now >= old[i + 4]
    if i and not is_over then
      append(t, { name, old[i], -1, old[i + 2], old[i + 3] }, old, i, refilled, now)
      list[#list + 1] = name
    end
  end
  t[1] = #t
  return t, table.concat(list, ' ')
end
