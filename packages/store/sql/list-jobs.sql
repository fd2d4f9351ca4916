-- A tenant's jobs with their ends and errors, newest first: ids of jobs are in the order of time. Walks the index of the
-- tenant's jobs and looks up the end of each, in the partitions of the time asked for, until the page is full.
--   $1 text tenant id, $2 uuid from (inclusive) and $3 uuid to (exclusive), bounds of the job id,
--   $4 text[] states, queued for jobs without an end, $5 text model, $6 job_class class, $7 uuid API key, each null for
--   any, $8 int how many at most
-- Times are Unix milliseconds.
WITH page AS (
  SELECT
    j.job_id, j.job_at, j.api_key_id, j.model, j.class, j.input_tokens, j.max_output_tokens, j.reserved_tokens,
    j.reserved_nano_usd, j.expires_at, j.metadata, j.replay_of, j.epoch,
    coalesce(l.state::text, 'queued') AS state,
    l.input_tokens AS used_input_tokens,
    l.output_tokens AS used_output_tokens,
    l.cached_tokens AS used_cached_tokens,
    l.amount_nano_usd
  FROM jobs j
  -- n.b. the limit keeps the planner from joining with the whole ledger: one look-up in one partition for each job.
  LEFT JOIN LATERAL (
    SELECT state, input_tokens, output_tokens, cached_tokens, amount_nano_usd
    FROM ledger
    WHERE ledger.job_id = j.job_id AND phase = 2 AND ledger.job_at = j.job_at
    LIMIT 1
  ) AS l ON true
  WHERE j.tenant_id = $1
    AND j.job_id >= $2 AND j.job_at >= uuid7_time($2)
    AND j.job_id < $3 AND j.job_at <= uuid7_time($3)
    AND ($4::text[] IS NULL OR coalesce(l.state::text, 'queued') = ANY ($4))
    AND ($5::text IS NULL OR j.model = $5)
    AND ($6::job_class IS NULL OR j.class = $6)
    AND ($7::uuid IS NULL OR j.api_key_id = $7)
  ORDER BY j.job_id DESC
  LIMIT $8
)
SELECT
  p.*,
  extract(epoch FROM p.expires_at) * 1000 AS expires_at_ms,
  r.model_version,
  r.error,
  r.attempt,
  extract(epoch FROM r.started_at) * 1000 AS started_at_ms,
  extract(epoch FROM r.finished_at) * 1000 AS finished_at_ms
FROM page p
LEFT JOIN LATERAL (
  SELECT model_version, error, attempt, started_at, finished_at
  FROM job_results
  WHERE job_results.job_id = p.job_id AND job_results.job_at = p.job_at
  LIMIT 1
) AS r ON true
ORDER BY p.job_id DESC;
