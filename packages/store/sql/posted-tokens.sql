-- Input and output tokens of a tenant's settled jobs that were accepted in [from, to).
--   $1 text tenant id, $2 and $3 bigint from and to, Unix ms
-- Whole buckets come from the roll-up; at edges that lie within a bucket the ledger itself is read.
WITH span AS (
  SELECT
    from_at,
    to_at,
    CASE WHEN usage_bucket(from_at) = from_at THEN from_at ELSE usage_bucket(from_at) + interval '15 minutes' END AS first_bucket,
    usage_bucket(to_at) AS end_bucket
  FROM (VALUES (to_timestamp($2::bigint / 1000.0::float8), to_timestamp($3::bigint / 1000.0::float8))) AS v (from_at, to_at)
)
SELECT
  coalesce((
    SELECT sum(u.input_tokens + u.output_tokens)
    FROM usage_15m u, span
    WHERE u.tenant_id = $1 AND u.bucket >= span.first_bucket AND u.bucket < span.end_bucket
  ), 0)::bigint
  + coalesce((
    SELECT sum(l.input_tokens + l.output_tokens)
    FROM ledger l, span
    WHERE l.tenant_id = $1 AND l.phase >= 2 AND l.job_at >= span.from_at AND l.job_at < least(span.first_bucket, span.to_at)
  ), 0)::bigint
  + coalesce((
    SELECT sum(l.input_tokens + l.output_tokens)
    FROM ledger l, span
    WHERE l.tenant_id = $1 AND l.phase >= 2 AND l.job_at >= greatest(span.end_bucket, least(span.first_bucket, span.to_at))
      AND l.job_at < span.to_at
  ), 0)::bigint AS tokens;
