-- A tenant's jobs that were accepted and have no terminal entry.
--   $1 text tenant id
-- Jobs behind the sweep's mark are known to have ended or are listed in overdue_jobs. Unix ms.
WITH candidates AS MATERIALIZED (
  SELECT job_id, job_at, reserved_tokens, expires_at
  FROM jobs
  WHERE tenant_id = $1 AND expires_at >= (SELECT swept_until FROM hold_sweep)
  UNION
  SELECT j.job_id, j.job_at, j.reserved_tokens, j.expires_at
  FROM overdue_jobs o
  JOIN jobs j USING (job_id, job_at)
  WHERE o.tenant_id = $1
)
SELECT
  c.job_id,
  c.reserved_tokens,
  extract(epoch FROM c.expires_at) * 1000 AS expires_at_ms,
  extract(epoch FROM c.job_at) * 1000 AS accepted_at_ms
FROM candidates c
-- n.b. the limit keeps the planner from joining with the whole ledger: one look-up in one partition for each job.
LEFT JOIN LATERAL (
  SELECT true AS ended FROM ledger l WHERE l.job_id = c.job_id AND l.phase = 2 AND l.job_at = c.job_at LIMIT 1
) AS terminal ON true
WHERE terminal.ended IS NULL
ORDER BY c.job_id;
