-- What was held for jobs that succeeded, beside what they used, by model, over all tenants.
--   $1 and $2 bigint accepted from (inclusive) and to (exclusive), Unix ms
-- mean_over_estimate is the unused part of the hold relative to the use, mean of the jobs; see v_estimate_error.
SELECT
  model,
  count(*) AS jobs,
  sum(reserved_tokens) AS reserved_tokens,
  sum(input_tokens + output_tokens) AS used_tokens,
  sum(overage_tokens)::bigint AS overage_tokens,
  count(*) FILTER (WHERE overage_tokens > 0) AS overage_jobs,
  avg(greatest(reserved_tokens - input_tokens - output_tokens, 0) / greatest(input_tokens + output_tokens, 1)::float8)
    AS mean_over_estimate
FROM ledger
WHERE phase = 2 AND state = 'succeeded' AND reserved_tokens > 0
  AND job_at >= to_timestamp($1::bigint / 1000.0::float8)
  AND job_at < to_timestamp($2::bigint / 1000.0::float8)
GROUP BY model
ORDER BY model;
