--[[
  scope-state: how the limits of one subject are kept, and how a hold on them ends. Not a command: commands begin with
  this text, so all of them agree on it.

  A tenant's `quota` hash has these fields:

    loaded                       "<era> <Unix ms>": every idempotency key is here that belongs to a job accepted since then
    cover                        " name name … ": a scope without a field has used nothing of these limits
    t, k:<API key>, m:<model>    a scope: the limits of the tenant, of a key, of the tenant's use of a model
    n:<field of a scope>         the names of its limits, separated by spaces
    h:<job>                      a hold: "owner\nidempotency key hash\nAPI key\nmodel\ntokens nanoUsd learns made"

  An era is "<form of what is kept> <run id of the Redis process>": what is of another one counts as not loaded, and who
  changes it nevertheless (ends a hold) removes `loaded`, for the others' sake.

  A scope is packed doubles: how many they are, version of the definitions, `at` (Unix ms), when the first period ends
  (Unix ms), and a record for each limit, those that the last caller named first and in its order:

    rate      code, ceiling, max, window (ms), lack
    quota     code, ceiling, period, since, ends (Unix ms), held, used, overage
    inFlight  code, ceiling, held

  `code` is 1, 2, 3 for a rate of requests, tokens, nanoUsd; 4, 5, 6 for a quota; 7, 8, 9 for inFlight. `ceiling` is the
  maximum, or infinite where the limit is soft or the last caller did not name it. `lack` is what the bucket lacks at
  `at`, in units × window, so that a millisecond refills exactly `max` and no fraction is ever rounded; above
  max × window the bucket is in debt. Holds made since `since` count in `held`. `made` is when the ledger has the job
  accepted: a time within each of its periods.
  n.b. Redis' Lua hashes each string that it makes, byte by byte: what is not needed at each reserve is kept elsewhere.
  n.b. numbers are whole and below 2^53; where one becomes text use `whole`, tostring() writes 6e+13.
]]
local floor, ceil, least, most, huge = math.floor, math.ceil, math.min, math.max, math.huge
local sub, rep = string.sub, string.rep
local HEADER = 4

local function whole(number) return string.format('%.0f', number) end

local function redis_now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + floor(time[2] / 1000)
end

local function is_loaded(loaded, era) return loaded and sub(loaded, 1, #era) == era end

-- By how much clocks are set right now and then.
local CLOCK_STEP = 2000

-- The time for a scope that was left at `at`: it stands still until a clock that was set right has caught up. After a
-- greater step back the new time counts, and nothing is refilled for the step.
local function later(at, now)
  if at > now and at - now <= CLOCK_STEP then return at end
  return now
end

-- A scope's numbers.
local function read_scope(text)
  -- n.b. one element more than numbers: struct.unpack returns the next position as well.
  return { struct.unpack(rep('d', #text / 8), text) }
end

local function write_scope(t)
  local n = t[1]
  return struct.pack(rep('d', n), unpack(t, 1, n))
end

-- What a job counts as, by code.
local function by_code(requests, tokens, nano)
  return { requests, tokens, nano, requests, tokens, nano, requests, tokens, nano }
end

-- API key, model, tokens, nanoUsd, whether it teaches, and when its job was accepted.
local function read_hold(text)
  local key, model, tokens, nano, learns, made =
    string.match(text, '^[^\n]*\n[^\n]*\n([^\n]*)\n([^\n]*)\n(%d+) (%d+) (%d) (%d+)$')
  return key, model, tonumber(tokens), tonumber(nano), learns == '1', tonumber(made)
end

-- Ends a hold in one scope: gives back what was held and books what was used.
local function end_hold(t, now, held, used, made)
  now = later(t[3], now)
  local refilled, i, n = most(0, now - t[3]), HEADER + 1, t[1]
  t[3] = now
  while i <= n do
    local code = t[i]
    local was, is = held[code], used[code]
    if code <= 3 then
      t[i + 4] = most(0, most(0, t[i + 4] - refilled * t[i + 2]) + (is - was) * t[i + 3])
      i = i + 5
    elseif code <= 6 then
      if made >= t[i + 3] then
        t[i + 5], t[i + 6], t[i + 7] = t[i + 5] - was, t[i + 6] + is, t[i + 7] + most(0, is - was)
      end
      i = i + 8
    else
      t[i + 2] = t[i + 2] - was
      i = i + 3
    end
  end
end
