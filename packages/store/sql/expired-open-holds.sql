-- Open jobs whose deadline and the grace have passed, as far as the sweep has come, earliest deadline first.
--   $1 int how many at most
SELECT j.job_id, j.tenant_id, j.api_key_id, j.model, j.class
FROM overdue_jobs o
JOIN jobs j USING (job_id, job_at)
LEFT JOIN LATERAL (
  SELECT true AS ended FROM ledger l WHERE l.job_id = o.job_id AND l.phase = 2 AND l.job_at = o.job_at LIMIT 1
) AS terminal ON true
WHERE terminal.ended IS NULL AND o.expires_at < now() - hold_grace()
ORDER BY o.expires_at, o.job_id
LIMIT $1;
