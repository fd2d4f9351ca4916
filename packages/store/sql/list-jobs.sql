-- A tenant's jobs with their ends and errors, newest first: ids of jobs are in the order of time. Walks the index of the
-- tenant's jobs and looks up the end of each, in the partitions of the time asked for, until the page is full or it has walked
-- far enough.
--   $1 text tenant id, $2 uuid from (inclusive) and $3 uuid to (exclusive), bounds of the job id,
--   $4 text[] states, queued for jobs without an end, $5 text model, $6 job_class class, $7 uuid API key, each null for
--   any, $8 int how many at most, $9 int how many to walk past at most
-- Returns at least one row, without a job when there is none. walked_to, the same in all: where the walk ended before the page
-- was full; null when it did not. Times are Unix milliseconds.
WITH page AS MATERIALIZED (
  SELECT
    j.*,
    coalesce(l.state::text, 'queued') AS state,
    l.input_tokens AS used_input_tokens,
    l.output_tokens AS used_output_tokens,
    l.cached_tokens AS used_cached_tokens,
    l.amount_nano_usd
  FROM (
    SELECT
      job_id, job_at, api_key_id, model, class, input_tokens, max_output_tokens, reserved_tokens, reserved_nano_usd,
      expires_at, metadata, replay_of, epoch
    FROM jobs
    WHERE tenant_id = $1
      AND job_id >= $2 AND job_at >= uuid7_time($2)
      AND job_id < $3 AND job_at <= uuid7_time($3)
    ORDER BY job_id DESC
    LIMIT $9
  ) AS j
  -- n.b. the limit keeps the planner from joining with the whole ledger: one look-up in one partition for each job.
  LEFT JOIN LATERAL (
    SELECT state, input_tokens, output_tokens, cached_tokens, amount_nano_usd
    FROM ledger
    WHERE ledger.job_id = j.job_id AND phase = 2 AND ledger.job_at = j.job_at
    LIMIT 1
  ) AS l ON true
  WHERE ($4::text[] IS NULL OR coalesce(l.state::text, 'queued') = ANY ($4))
    AND ($5::text IS NULL OR j.model = $5)
    AND ($6::job_class IS NULL OR j.class = $6)
    AND ($7::uuid IS NULL OR j.api_key_id = $7)
  ORDER BY j.job_id DESC
  LIMIT $8
),
walk AS MATERIALIZED (
  SELECT
    CASE
      WHEN (SELECT count(*) FROM page) < $8 THEN (
        SELECT job_id
        FROM jobs
        WHERE tenant_id = $1
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
