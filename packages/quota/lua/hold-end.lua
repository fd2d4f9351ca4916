-- hold-end: ends the hold of a job in its three scopes, and forgets it. Not a command, see scope-state.
local function end_hold_of(quota, job_id, hold, now, requests, tokens, nano)
  local key, model, held_tokens, held_nano, learns, made = read_hold(hold)
  local held, used = by_code(1, held_tokens, held_nano), by_code(requests, tokens, nano)
  local fields, written = { 't', 'k:' .. key, 'm:' .. model }, {}
  for i, text in ipairs(redis.call('HMGET', quota, fields[1], fields[2], fields[3])) do
    local t = text and read_scope(text)
    if t and t[1] > HEADER then
      end_hold(t, now, held, used, made)
      local w = #written
      written[w + 1], written[w + 2] = fields[i], write_scope(t)
    end
  end
  if #written > 0 then redis.call('HSET', quota, unpack(written)) end
  redis.call('HDEL', quota, 'h:' .. job_id)
  return learns, model
end
