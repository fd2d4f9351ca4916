-- A tenant's jobs without a recorded end, newest first. Other than list-jobs.sql it does not walk past all jobs that have
-- ended: jobs behind the sweep's mark are known to have ended or are listed in overdue_jobs.
--   $1 text tenant id, $2 uuid from (inclusive) and $3 uuid to (exclusive), bounds of the job id,
--   $4 text model, $5 job_class class, $6 uuid API key, each null for any, $7 int how many at most
-- Returns the columns of list-jobs.sql; those of an end are null, and walked_to is. Times are Unix milliseconds.
WITH candidates AS MATERIALIZED (
  SELECT job_id, job_at
  FROM jobs
  WHERE tenant_id = $1 AND expires_at >= (SELECT swept_until FROM hold_sweep)
  UNION
  SELECT job_id, job_at FROM overdue_jobs WHERE tenant_id = $1
)
SELECT
  j.job_id, j.api_key_id, j.model, j.class, j.input_tokens, j.max_output_tokens, j.reserved_tokens, j.reserved_nano_usd,
  j.metadata, j.replay_of, j.epoch,
  'queued' AS state,
  extract(epoch FROM j.expires_at) * 1000 AS expires_at_ms,
  NULL AS used_input_tokens,
  NULL AS used_output_tokens,
  NULL AS used_cached_tokens,
  NULL AS amount_nano_usd,
  NULL AS model_version,
  NULL AS error,
  NULL AS attempt,
  NULL AS started_at_ms,
  NULL AS finished_at_ms,
  NULL AS walked_to
FROM candidates c
JOIN LATERAL (SELECT * FROM jobs WHERE jobs.job_id = c.job_id AND jobs.job_at = c.job_at LIMIT 1) AS j ON true
-- n.b. the limit keeps the planner from joining with the whole ledger: one look-up in one partition for each job.
LEFT JOIN LATERAL (
  SELECT true AS ended FROM ledger l WHERE l.job_id = c.job_id AND l.phase = 2 AND l.job_at = c.job_at LIMIT 1
) AS terminal ON true
WHERE terminal.ended IS NULL
  AND c.job_id >= $2 AND c.job_id < $3
  AND ($4::text IS NULL OR j.model = $4)
  AND ($5::job_class IS NULL OR j.class = $5)
  AND ($6::uuid IS NULL OR j.api_key_id = $6)
ORDER BY c.job_id DESC
LIMIT $7;
