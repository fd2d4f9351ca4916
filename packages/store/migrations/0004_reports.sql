-- What operators and billing may read. Views run with their owner's rights; the role `reporter` reads nothing else.

CREATE VIEW v_usage_daily AS
SELECT
  u.tenant_id,
  (u.bucket AT TIME ZONE t.time_zone)::date AS day,
  u.model,
  u.api_key_id,
  sum(u.jobs)::bigint AS jobs,
  sum(u.failed_jobs)::bigint AS failed_jobs,
  sum(u.input_tokens)::bigint AS input_tokens,
  sum(u.output_tokens)::bigint AS output_tokens,
  sum(u.cached_tokens)::bigint AS cached_tokens,
  sum(u.amount_nano_usd)::bigint AS amount_nano_usd
FROM usage_15m u
JOIN tenants t USING (tenant_id)
GROUP BY u.tenant_id, day, u.model, u.api_key_id;
COMMENT ON VIEW v_usage_daily IS
  'Usage by day in the tenant''s own time zone, model and API key. A job belongs to the day it was accepted.';

CREATE VIEW v_statement AS
SELECT
  u.tenant_id,
  date_trunc('month', u.bucket AT TIME ZONE t.time_zone)::date AS month,
  t.time_zone,
  u.model,
  sum(u.jobs)::bigint AS jobs,
  sum(u.failed_jobs)::bigint AS failed_jobs,
  sum(u.input_tokens)::bigint AS input_tokens,
  sum(u.output_tokens)::bigint AS output_tokens,
  sum(u.cached_tokens)::bigint AS cached_tokens,
  sum(u.amount_nano_usd)::bigint AS amount_nano_usd,
  round(sum(u.amount_nano_usd) / 1e9, 9) AS amount_usd
FROM usage_15m u
JOIN tenants t USING (tenant_id)
GROUP BY u.tenant_id, month, t.time_zone, u.model;
COMMENT ON VIEW v_statement IS
  'One line for each tenant, month in the tenant''s own time zone, and model. amount_usd is exact, not rounded to cents.';

CREATE VIEW v_unpriced AS
SELECT l.job_id, l.job_at, l.tenant_id, l.model, l.input_tokens, l.output_tokens, l.cached_tokens, l.recorded_at
FROM ledger l
WHERE l.phase = 2
  AND l.state <> 'expired'
  AND (
    (l.input_tokens > l.cached_tokens AND l.input_price_id IS NULL)
    OR (l.cached_tokens > 0 AND l.cached_price_id IS NULL)
    OR (l.output_tokens > 0 AND l.output_price_id IS NULL)
  );
COMMENT ON VIEW v_unpriced IS
  'Billable entries with a meter that had no price in force at job_at; that meter was billed at 0. A price per request is optional.';

CREATE VIEW v_recon_missing_terminal AS
SELECT j.job_id, j.tenant_id, j.model, j.class, j.reserved_tokens, j.expires_at, j.recorded_at
FROM jobs j
WHERE j.expires_at < now() - hold_grace()
  AND NOT EXISTS (SELECT FROM ledger l WHERE l.job_id = j.job_id AND l.phase = 2 AND l.job_at = j.job_at);
COMMENT ON VIEW v_recon_missing_terminal IS
  'Jobs without a terminal entry although their deadline and the grace have passed. Zero rows when healthy.';

CREATE VIEW v_recon_terminal_without_reserve AS
SELECT l.job_id, l.tenant_id, l.model, l.state, l.recorded_at
FROM ledger l
WHERE l.phase = 2
  AND l.recorded_at < now() - hold_grace()
  AND NOT EXISTS (SELECT FROM ledger r WHERE r.job_id = l.job_id AND r.phase = 1 AND r.job_at = l.job_at);
COMMENT ON VIEW v_recon_terminal_without_reserve IS
  'Terminal entries of jobs whose reserve entry has not come within the grace. Zero rows when healthy.';

CREATE VIEW v_recon_rollup_drift AS
WITH from_ledger AS (
  SELECT
    tenant_id,
    usage_bucket(job_at) AS bucket,
    model,
    api_key_id,
    count(*) FILTER (WHERE phase = 2) AS jobs,
    count(*) FILTER (WHERE phase = 2 AND state <> 'succeeded') AS failed_jobs,
    sum(input_tokens)::bigint AS input_tokens,
    sum(output_tokens)::bigint AS output_tokens,
    sum(cached_tokens)::bigint AS cached_tokens,
    sum(amount_nano_usd)::bigint AS amount_nano_usd
  FROM ledger
  WHERE phase >= 2
  GROUP BY 1, 2, 3, 4
)
SELECT
  tenant_id,
  bucket,
  model,
  api_key_id,
  l.jobs AS ledger_jobs,
  u.jobs AS rollup_jobs,
  l.input_tokens AS ledger_input_tokens,
  u.input_tokens AS rollup_input_tokens,
  l.output_tokens AS ledger_output_tokens,
  u.output_tokens AS rollup_output_tokens,
  l.amount_nano_usd AS ledger_amount_nano_usd,
  u.amount_nano_usd AS rollup_amount_nano_usd
FROM from_ledger l
FULL JOIN usage_15m u USING (tenant_id, bucket, model, api_key_id)
WHERE (l.jobs, l.failed_jobs, l.input_tokens, l.output_tokens, l.cached_tokens, l.amount_nano_usd)
  IS DISTINCT FROM (u.jobs, u.failed_jobs, u.input_tokens, u.output_tokens, u.cached_tokens, u.amount_nano_usd);
COMMENT ON VIEW v_recon_rollup_drift IS 'Roll-up rows that differ from the sums of the ledger. Zero rows when healthy.';

CREATE VIEW v_recon_default_partition AS
SELECT 'jobs' AS parent, job_id, job_at FROM jobs_default
UNION ALL
SELECT 'ledger', job_id, job_at FROM ledger_default
UNION ALL
SELECT 'job_results', job_id, job_at FROM job_results_default;
COMMENT ON VIEW v_recon_default_partition IS
  'Rows for which no monthly partition existed: the maintenance does not run, or an id carries a time far from now. Zero rows when healthy.';

-- The role belongs to the whole server. Databases that are migrated at once race for it; the loser finds it made.
-- n.b. only the winner sets its options: two ALTER ROLE at once fail with "tuple concurrently updated".
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reporter') THEN
    CREATE ROLE reporter NOLOGIN;
    ALTER ROLE reporter SET statement_timeout = '60s';
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    NULL;
  WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the role "reporter" does not exist and may not be created by %', current_user
      USING HINT = 'Let an administrator run: CREATE ROLE reporter NOLOGIN';
END;
$$;

GRANT USAGE ON SCHEMA public TO reporter;
GRANT SELECT ON
  v_usage_daily,
  v_statement,
  v_unpriced,
  v_recon_missing_terminal,
  v_recon_terminal_without_reserve,
  v_recon_rollup_drift,
  v_recon_default_partition
TO reporter;
