--[[
  learned: what the jobs of a tenant on a model produced, as a histogram. Not a command, see scope-state.

  A field of the `learned` hash is packed doubles: number of samples, weight of the next sample, and the weight in each
  bucket. Bucket b counts outputs up to 2^(b/4) tokens, so a quantile read from it is at most a fifth too high. Each
  sample weighs GROWTH times the one before: the newest 500 make up about two thirds of the whole.
]]
local BUCKETS, GROWTH, HEAVY = 109, 1.002, 1e9

local function bucket_of(tokens)
  if tokens <= 1 then return 0 end
  -- n.b. the logarithm of a power of two may come out a little too large.
  return least(BUCKETS - 1, ceil(4 * math.log(tokens) / math.log(2) - 1e-9))
end

local function learn(text, tokens)
  local t = { 0, 1 }
  if text then t = { struct.unpack(rep('d', 2 + BUCKETS), text) } else for b = 1, BUCKETS do t[2 + b] = 0 end end
  local at = 3 + bucket_of(tokens)
  t[1], t[at], t[2] = t[1] + 1, t[at] + t[2], t[2] * GROWTH
  if t[2] > HEAVY then for i = 2, 2 + BUCKETS do t[i] = t[i] / HEAVY end end
  return struct.pack(rep('d', 2 + BUCKETS), unpack(t, 1, 2 + BUCKETS))
end

-- "<tokens> <samples>": at most `quantile` of the weight lies below the bucket that ends with these tokens.
local function read_learned(text, quantile)
  local t, total, below = { struct.unpack(rep('d', 2 + BUCKETS), text) }, 0, 0
  for i = 3, 2 + BUCKETS do total = total + t[i] end
  for b = 0, BUCKETS - 1 do
    below = below + t[3 + b]
    if below >= quantile * total then return whole(floor(2 ^ (b / 4) + 1e-6)) .. ' ' .. whole(t[1]) end
  end
  return whole(floor(2 ^ ((BUCKETS - 1) / 4))) .. ' ' .. whole(t[1])
end
