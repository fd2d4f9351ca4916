-- Input and output tokens of a tenant's settled jobs that were accepted in [from, to).
--   $1 text tenant id, $2 and $3 bigint from and to, $4 and $5 bigint begin and end of the whole 15-minute buckets
--   within, $2 <= $4 <= $5 <= $3; all Unix ms
-- Whole buckets come from the roll-up, what lies before and after them from the ledger itself.
SELECT
  coalesce((
    SELECT sum(input_tokens + output_tokens)
    FROM usage_15m
    WHERE tenant_id = $1
      AND bucket >= to_timestamp($4::bigint / 1000.0::float8)
      AND bucket < to_timestamp($5::bigint / 1000.0::float8)
  ), 0)::bigint
  + coalesce((
    SELECT sum(input_tokens + output_tokens)
    FROM ledger
    WHERE $2::bigint < $4::bigint
      AND tenant_id = $1
      AND phase >= 2
      AND job_at >= to_timestamp($2::bigint / 1000.0::float8)
      AND job_at < to_timestamp($4::bigint / 1000.0::float8)
  ), 0)::bigint
  + coalesce((
    SELECT sum(input_tokens + output_tokens)
    FROM ledger
    WHERE $5::bigint < $3::bigint
      AND tenant_id = $1
      AND phase >= 2
      AND job_at >= to_timestamp($5::bigint / 1000.0::float8)
      AND job_at < to_timestamp($3::bigint / 1000.0::float8)
  ), 0)::bigint AS tokens;
