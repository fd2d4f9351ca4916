-- How many jobs have begun and not ended.
--   $1 text[] tenants
SELECT count(*)::int AS open
FROM ledger r
WHERE r.phase = 1 AND r.tenant_id = ANY ($1)
  AND NOT EXISTS (SELECT FROM ledger t WHERE t.job_id = r.job_id AND t.phase = 2);
