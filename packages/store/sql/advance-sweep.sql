-- Moves the sweep's mark past the next jobs whose deadline and the grace have passed, noting in overdue_jobs those that
-- are open, and forgets overdue jobs that have ended. Takes ends that came before their jobs into the backlog. Sweeps may run
-- at the same time: a mark that was right stays right, because terminal entries are never taken back.
--   $1 int how many jobs to look at; more when the last of them share their deadline
-- Returns one row: examined int, how many were looked at. Fewer than $1 means that the sweep has caught up.
WITH passed AS MATERIALIZED (
  SELECT job_id, job_at, tenant_id, expires_at
  FROM jobs
  WHERE expires_at >= (SELECT swept_until FROM hold_sweep) AND expires_at < now() - hold_grace()
  ORDER BY expires_at
  FETCH FIRST $1 ROWS WITH TIES
),
noted AS (
  INSERT INTO overdue_jobs (job_id, job_at, tenant_id, expires_at)
  SELECT p.job_id, p.job_at, p.tenant_id, p.expires_at
  FROM passed p
  -- n.b. the limit keeps the planner from joining with the whole ledger: one look-up in one partition for each job.
  LEFT JOIN LATERAL (
    SELECT true AS ended FROM ledger l WHERE l.job_id = p.job_id AND l.phase = 2 AND l.job_at = p.job_at LIMIT 1
  ) AS terminal ON true
  WHERE terminal.ended IS NULL
  ORDER BY p.job_id
  ON CONFLICT DO NOTHING
),
forgotten AS (
  DELETE FROM overdue_jobs o
  USING ledger l
  WHERE l.job_id = o.job_id AND l.phase = 2 AND l.job_at = o.job_at
),
joined AS MATERIALIZED (
  SELECT e.job_id, j.model, j.class, j.input_tokens
  FROM backlog_ends e
  CROSS JOIN LATERAL (SELECT * FROM jobs WHERE jobs.job_id = e.job_id AND jobs.job_at = e.job_at LIMIT 1) AS j
),
-- What it returns it has deleted itself: another sweep at the same time counts none of them.
taken AS (
  DELETE FROM backlog_ends e USING joined j WHERE e.job_id = j.job_id RETURNING j.model, j.class, j.input_tokens
),
counted AS (
  INSERT INTO backlog AS b (shard, model, class, jobs, input_tokens)
  SELECT backlog_shard(), model, class, -count(*), -sum(input_tokens)
  FROM taken
  GROUP BY 2, 3
  ORDER BY 2, 3
  ON CONFLICT (shard, model, class) DO UPDATE SET
    jobs = b.jobs + excluded.jobs,
    input_tokens = b.input_tokens + excluded.input_tokens
),
moved AS (
  UPDATE hold_sweep s
  SET swept_until = m.mark
  FROM (
    SELECT CASE WHEN count(*) < $1 THEN now() - hold_grace() ELSE max(expires_at) + interval '1 microsecond' END AS mark
    FROM passed
  ) AS m
  WHERE s.swept_until < m.mark
)
SELECT count(*)::int AS examined FROM passed;
