-- A tenant's jobs that were accepted and have no terminal entry.
--   $1 text tenant id
-- Everything before the sweep's mark is known to be terminal or is listed in late_jobs (see hold_sweep). Unix ms.
WITH candidates AS (
  SELECT job_id, job_at
  FROM jobs
  WHERE tenant_id = $1 AND expires_at >= (SELECT swept_until FROM hold_sweep)
  UNION
  SELECT job_id, job_at FROM late_jobs WHERE tenant_id = $1
)
SELECT
  j.job_id,
  j.reserved_tokens,
  extract(epoch FROM j.expires_at) * 1000 AS expires_at_ms,
  extract(epoch FROM j.job_at) * 1000 AS accepted_at_ms
FROM candidates c
JOIN jobs j USING (job_id, job_at)
WHERE NOT EXISTS (SELECT FROM ledger l WHERE l.job_id = c.job_id AND l.phase = 2 AND l.job_at = c.job_at)
ORDER BY j.job_id;
