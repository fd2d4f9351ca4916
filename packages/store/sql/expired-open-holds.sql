-- Open jobs whose deadline and the grace have passed, earliest deadline first, and moves the sweep's mark up to the
-- first of them. A mark that was right stays right, because terminal entries are never taken back; so sweeps may run at
-- the same time.
--   $1 int how many at most
WITH expired AS (
  SELECT job_id, job_at, tenant_id, api_key_id, model, class, expires_at
  FROM jobs j
  WHERE expires_at >= (SELECT swept_until FROM hold_sweep)
    AND expires_at < now() - hold_grace()
    AND NOT EXISTS (SELECT FROM ledger l WHERE l.job_id = j.job_id AND l.phase = 2 AND l.job_at = j.job_at)
  ORDER BY expires_at
  LIMIT $1
),
late AS (
  SELECT j.job_id, j.tenant_id, j.api_key_id, j.model, j.class, j.expires_at
  FROM late_jobs
  JOIN jobs j USING (job_id, job_at)
  WHERE j.expires_at < now() - hold_grace()
    AND NOT EXISTS (SELECT FROM ledger l WHERE l.job_id = j.job_id AND l.phase = 2 AND l.job_at = j.job_at)
  ORDER BY j.expires_at
  LIMIT $1
),
settled AS (
  DELETE FROM late_jobs d
  USING ledger l
  WHERE l.job_id = d.job_id AND l.phase = 2 AND l.job_at = d.job_at
),
advanced AS (
  UPDATE hold_sweep s
  SET swept_until = m.mark
  FROM (SELECT coalesce((SELECT min(expires_at) FROM expired), now() - hold_grace()) AS mark) AS m
  WHERE s.swept_until < m.mark
)
SELECT job_id, tenant_id, api_key_id, model, class
FROM (
  SELECT job_id, tenant_id, api_key_id, model, class, expires_at FROM expired
  UNION
  SELECT job_id, tenant_id, api_key_id, model, class, expires_at FROM late
) AS open
ORDER BY expires_at
LIMIT $1;
