-- take: holds a job in one scope. Not a command, see scope-state.

-- Ms until the hold that expires first does; at least 1, for an expired hold is about to be cleared.
local function first_expiry(expiries, now)
  local first = redis.call('ZRANGE', expiries, 0, 0, 'WITHSCORES')
  return most(1, ceil((first[2] or now) - now))
end

-- Takes `costs` of a job that was accepted at `made` from every limit. Where one has too little, returns the ms until it would have enough (-1 = never) and
-- which record it is; of several the one that clears last. The scope is not to be written then,
-- nor when `made` lies in another period than `now`: then the third result is the ms after which a new time does not, or
-- -1 where a period has not begun.
local function take(t, now, made, costs, expiries)
  local refilled, i, n = most(0, now - t[3]), HEADER + 1, t[1]
  local clears_in, refused_at, record, off = 0, nil, 0, nil
  t[3] = now
  while i <= n do
    local code, ceiling = t[i], t[i + 1]
    local cost, wait, length = costs[code], nil, 8
    record = record + 1
    if code <= 3 then
      local max, window, lack = t[i + 2], t[i + 3], t[i + 4] - refilled * t[i + 2]
      if lack < 0 then lack = 0 end
      lack, length = lack + cost * window, 5
      if lack > ceiling * window then wait = ceil((lack - ceiling * window) / max) end
      t[i + 4] = lack
    elseif code <= 6 then
      local held, since, ends = t[i + 5] + cost, t[i + 3], t[i + 4]
      if made < since or made >= ends then
        if off ~= -1 then off = now < since and -1 or most(off or 0, made < since and since - made or ends - now) end
      end
      if held + t[i + 6] > ceiling then wait = ends - now end
      t[i + 5] = held
    else
      local held = t[i + 2] + cost
      length = 3
      if held > ceiling then wait = first_expiry(expiries, now) end
      t[i + 2] = held
    end
    if wait then
      if cost > ceiling then wait = -1 end
      if clears_in ~= -1 and (wait == -1 or wait > clears_in) then clears_in, refused_at = wait, record end
    end
    i = i + length
  end
  if refused_at then return clears_in, refused_at, off end
  return nil, nil, off
end
