-- A tenant's jobs that ended without success, newest first. Other than list-jobs.sql it walks past these alone, by an index of
-- the ledger that holds no others.
--   $1 text tenant id, $2 uuid from (inclusive) and $3 uuid to (exclusive), bounds of the job id,
--   $4 text[] states: failed | canceled | expired, $5 text model, $6 job_class class, $7 uuid API key, the last three null for
--   any, $8 int how many at most, $9 int how many to walk past at most
-- Returns what list-jobs.sql does.
WITH page AS MATERIALIZED (
  SELECT
    j.*,
    l.state::text AS state,
    l.input_tokens AS used_input_tokens,
    l.output_tokens AS used_output_tokens,
    l.cached_tokens AS used_cached_tokens,
    l.amount_nano_usd
  FROM (
    SELECT job_id, job_at, state, input_tokens, output_tokens, cached_tokens, amount_nano_usd
    FROM ledger
    WHERE tenant_id = $1 AND phase = 2 AND state <> 'succeeded'
      AND job_id >= $2 AND job_at >= uuid7_time($2)
      AND job_id < $3 AND job_at <= uuid7_time($3)
    ORDER BY job_id DESC
    LIMIT $9
  ) AS l
  CROSS JOIN LATERAL (
    SELECT
      job_id, job_at, api_key_id, model, class, input_tokens, max_output_tokens, reserved_tokens, reserved_nano_usd,
      expires_at, metadata, replay_of, epoch
    FROM jobs
    WHERE jobs.job_id = l.job_id AND jobs.job_at = l.job_at
    LIMIT 1
  ) AS j
  WHERE l.state::text = ANY ($4::text[])
    AND ($5::text IS NULL OR j.model = $5)
    AND ($6::job_class IS NULL OR j.class = $6)
    AND ($7::uuid IS NULL OR j.api_key_id = $7)
  ORDER BY l.job_id DESC
  LIMIT $8
),
walk AS MATERIALIZED (
  SELECT
    CASE
      WHEN (SELECT count(*) FROM page) < $8 THEN (
        SELECT job_id
        FROM ledger
        WHERE tenant_id = $1 AND phase = 2 AND state <> 'succeeded'
          AND job_id >= $2 AND job_at >= uuid7_time($2)
          AND job_id < $3 AND job_at <= uuid7_time($3)
        ORDER BY job_id DESC
        OFFSET $9 - 1
        LIMIT 1
      )
    END AS walked_to
)
SELECT
  p.*,
  extract(epoch FROM p.expires_at) * 1000 AS expires_at_ms,
  r.model_version,
  r.error,
  r.attempt,
  extract(epoch FROM r.started_at) * 1000 AS started_at_ms,
  extract(epoch FROM r.finished_at) * 1000 AS finished_at_ms,
  w.walked_to
FROM walk w
LEFT JOIN page p ON true
LEFT JOIN LATERAL (
  SELECT model_version, error, attempt, started_at, finished_at
  FROM job_results
  WHERE job_results.job_id = p.job_id AND job_results.job_at = p.job_at
  LIMIT 1
) AS r ON true
ORDER BY p.job_id DESC;
