-- What a tenant's limits start from: tokens of settled jobs by when they were accepted, and open jobs. One statement
-- and so one snapshot: a job that ends meanwhile is in one of the two, never in both or neither.
--   $1 text tenant id
--   Windows [from, to), parallel bigint[], Unix ms: $2 from, $3 begin and $4 end of the whole 15-minute buckets within,
--   $5 to, $2 <= $3 <= $4 <= $5
-- Returns one row: posted json, array of tokens, one for each window in their order;
--   open_holds json, array of {job_id, reserved_tokens, expires_at_ms, accepted_at_ms}, times in Unix ms.
WITH windows AS (
  SELECT
    position,
    to_timestamp(from_ms / 1000.0::float8) AS from_at,
    to_timestamp(begin_ms / 1000.0::float8) AS begin_at,
    to_timestamp(end_ms / 1000.0::float8) AS end_at,
    to_timestamp(to_ms / 1000.0::float8) AS to_at
  FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    WITH ORDINALITY AS w (from_ms, begin_ms, end_ms, to_ms, position)
),
-- Whole buckets come from the roll-up, what lies before and after them from the ledger itself. The ledger has no index
-- by tenant: its rows of an edge are read only when the roll-up says that the tenant has some in those buckets.
posted AS (
  SELECT
    position,
    coalesce((
      SELECT sum(input_tokens + output_tokens)
      FROM usage_15m
      WHERE tenant_id = $1 AND bucket >= begin_at AND bucket < end_at
    ), 0)::bigint
    + coalesce((
      SELECT sum(input_tokens + output_tokens)
      FROM ledger
      WHERE from_at < begin_at
        AND tenant_id = $1 AND phase >= 2 AND job_at >= from_at AND job_at < begin_at
        AND EXISTS (
          SELECT FROM usage_15m WHERE tenant_id = $1 AND bucket >= usage_bucket(from_at) AND bucket < begin_at
        )
    ), 0)::bigint
    + coalesce((
      SELECT sum(input_tokens + output_tokens)
      FROM ledger
      WHERE end_at < to_at
        AND tenant_id = $1 AND phase >= 2 AND job_at >= end_at AND job_at < to_at
        AND EXISTS (
          SELECT FROM usage_15m WHERE tenant_id = $1 AND bucket >= usage_bucket(end_at) AND bucket < to_at
        )
    ), 0)::bigint AS tokens
  FROM windows
),
-- Jobs behind the sweep's mark are known to have ended or are listed in overdue_jobs.
candidates AS MATERIALIZED (
  SELECT job_id, job_at, reserved_tokens, expires_at
  FROM jobs
  WHERE tenant_id = $1 AND expires_at >= (SELECT swept_until FROM hold_sweep)
  UNION
  SELECT j.job_id, j.job_at, j.reserved_tokens, j.expires_at
  FROM overdue_jobs o
  JOIN jobs j USING (job_id, job_at)
  WHERE o.tenant_id = $1
),
holds AS (
  SELECT
    c.job_id,
    c.reserved_tokens,
    (extract(epoch FROM c.expires_at) * 1000)::bigint AS expires_at_ms,
    (extract(epoch FROM c.job_at) * 1000)::bigint AS accepted_at_ms
  FROM candidates c
  -- n.b. the limit keeps the planner from joining with the whole ledger: one look-up in one partition for each job.
  LEFT JOIN LATERAL (
    SELECT true AS ended FROM ledger l WHERE l.job_id = c.job_id AND l.phase = 2 AND l.job_at = c.job_at LIMIT 1
  ) AS terminal ON true
  WHERE terminal.ended IS NULL
)
SELECT
  coalesce((SELECT json_agg(tokens ORDER BY position) FROM posted), '[]') AS posted,
  coalesce((SELECT json_agg(holds ORDER BY job_id) FROM holds), '[]') AS open_holds;
