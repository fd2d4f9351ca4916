-- The backlog: accepted jobs that have not ended and the tokens of their inputs, by model and class, kept up to date by the
-- statements that record facts. Scaling reads it every few seconds; counting open jobs would cost in proportion to them.

-- What was added and taken away. A writer changes only rows of its shard (see backlog_shard), so that writers do not wait for
-- each other; a row alone means nothing and may be negative, their sum is what counts.
CREATE TABLE backlog (
  shard        smallint NOT NULL,
  model        text NOT NULL,
  class        job_class NOT NULL,
  jobs         bigint NOT NULL,
  input_tokens bigint NOT NULL,
  PRIMARY KEY (shard, model, class)
) WITH (fillfactor = 50);

CREATE FUNCTION backlog_shard() RETURNS smallint LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN (pg_backend_pid() % 64)::smallint;

-- Ends that were recorded while their job was not to be seen: it comes later or is being recorded by somebody else. They count
-- from the moment their job is there; the sweep then takes them into the table above.
CREATE TABLE backlog_ends (
  job_id uuid NOT NULL,
  job_at timestamptz NOT NULL,
  PRIMARY KEY (job_id, job_at)
);

CREATE VIEW v_backlog AS
SELECT c.model, c.class, sum(c.jobs)::bigint AS jobs, sum(c.input_tokens)::bigint AS input_tokens
FROM (
  SELECT model, class, jobs, input_tokens FROM backlog
  UNION ALL
  SELECT j.model, j.class, -1, -j.input_tokens
  FROM backlog_ends e
  -- n.b. the limit keeps the planner from reading all jobs: one look-up in one partition for each end.
  CROSS JOIN LATERAL (SELECT * FROM jobs WHERE jobs.job_id = e.job_id AND jobs.job_at = e.job_at LIMIT 1) AS j
) AS c
GROUP BY 1, 2
HAVING sum(c.jobs) <> 0 OR sum(c.input_tokens) <> 0;
COMMENT ON VIEW v_backlog IS 'Jobs that were accepted and have not ended, and the tokens of their inputs, by model and class.';

CREATE VIEW v_recon_backlog AS
WITH held AS (
  SELECT job_id, job_at FROM jobs WHERE expires_at >= (SELECT swept_until FROM hold_sweep)
  UNION
  SELECT job_id, job_at FROM overdue_jobs
),
open AS (
  SELECT j.model, j.class, count(*) AS jobs, sum(j.input_tokens)::bigint AS input_tokens
  FROM held h
  CROSS JOIN LATERAL (SELECT * FROM jobs WHERE jobs.job_id = h.job_id AND jobs.job_at = h.job_at LIMIT 1) AS j
  LEFT JOIN LATERAL (
    SELECT true AS ended FROM ledger l WHERE l.job_id = h.job_id AND l.phase = 2 AND l.job_at = h.job_at LIMIT 1
  ) AS terminal ON true
  WHERE terminal.ended IS NULL
  GROUP BY 1, 2
)
SELECT
  model,
  class,
  coalesce(b.jobs, 0) AS counted_jobs,
  coalesce(o.jobs, 0) AS open_jobs,
  coalesce(b.input_tokens, 0) AS counted_input_tokens,
  coalesce(o.input_tokens, 0) AS open_input_tokens
FROM v_backlog b
FULL JOIN open o USING (model, class)
WHERE (b.jobs, b.input_tokens) IS DISTINCT FROM (o.jobs, o.input_tokens);
COMMENT ON VIEW v_recon_backlog IS
  'Models and classes whose backlog differs from their open jobs. Corrected by collectors in their maintenance. Zero rows when healthy.';

-- Makes the backlog what the open jobs sum up to, and returns how many models and classes were wrong. The difference is found in
-- one snapshot and added to what others change meanwhile, so nobody waits. It is needed after collectors of an earlier
-- version, which count nothing, have recorded beside this one.
CREATE FUNCTION correct_backlog() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  corrected integer;
BEGIN
  -- n.b. in a statement of its own: the next one must see what another correction has done.
  PERFORM pg_advisory_xact_lock(hashtext('sluice.backlog'));
  INSERT INTO backlog AS b (shard, model, class, jobs, input_tokens)
  SELECT backlog_shard(), model, class, open_jobs - counted_jobs, open_input_tokens - counted_input_tokens
  FROM v_recon_backlog
  ORDER BY 2, 3
  ON CONFLICT (shard, model, class) DO UPDATE SET
    jobs = b.jobs + excluded.jobs,
    input_tokens = b.input_tokens + excluded.input_tokens;
  GET DIAGNOSTICS corrected = ROW_COUNT;
  RETURN corrected;
END;
$$;
REVOKE EXECUTE ON FUNCTION correct_backlog() FROM PUBLIC;
GRANT SELECT ON v_backlog, v_recon_backlog TO reporter;

SELECT correct_backlog();
