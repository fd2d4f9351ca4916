-- Open jobs whose deadline and the grace have passed, earliest deadline first. Deadlines are told by the clock of Redis, and
-- so is the time here; the sweep's mark, by the clock of PostgreSQL, only says where open jobs are looked for. When Redis' clock is
-- ahead of it, up to ten minutes of jobs before the mark's place, and of them the first 20,000, are looked through as well: no more, for
-- most have ended. What lies beyond is found when the mark has come there.
--   $1 int how many at most
--   $2 bigint now (Unix ms); null: by the clock of PostgreSQL
WITH clock AS MATERIALIZED (
  SELECT coalesce(to_timestamp($2::bigint / 1000.0::float8), now()) - hold_grace() AS late_at
),
candidates AS (
  SELECT o.job_id, o.job_at, o.expires_at
  FROM overdue_jobs o
  WHERE o.expires_at < (SELECT late_at FROM clock)
  -- n.b. a job may be on both sides of the mark: it is noted as overdue from its deadline on.
  UNION
  (
    SELECT j.job_id, j.job_at, j.expires_at
    FROM jobs j
    WHERE j.expires_at >= (SELECT swept_until FROM hold_sweep)
      AND j.expires_at < least((SELECT late_at FROM clock), now() + interval '10 minutes' - hold_grace())
    ORDER BY j.expires_at
    LIMIT 20000
  )
)
SELECT j.job_id, j.tenant_id, j.api_key_id, j.model, j.class
FROM candidates c
CROSS JOIN LATERAL (
  SELECT * FROM jobs WHERE jobs.job_id = c.job_id AND jobs.job_at = c.job_at LIMIT 1
) AS j
LEFT JOIN LATERAL (
  SELECT true AS ended FROM ledger l WHERE l.job_id = c.job_id AND l.phase = 2 AND l.job_at = c.job_at LIMIT 1
) AS terminal ON true
WHERE terminal.ended IS NULL
ORDER BY c.expires_at, c.job_id
LIMIT $1;
