-- Dead letters that can be replayed, alerts on quotas, reports on limits and estimates, reconciliation, and retention.

-- n.b. before the table is locked against readers.
CREATE INDEX dead_letters_recorded ON dead_letters (recorded_at);
-- Dead letters: whose they are, and what became of them. The payload is kept whole now, as far as the collector gives it.
ALTER TABLE dead_letters
  ADD COLUMN tenant_id   text,
  ADD COLUMN replayed_at timestamptz,
  ADD COLUMN replay_note text,
  -- The job that runs the dead one again; absent when the letter was not a job.
  ADD COLUMN replayed_as uuid,
  ADD CONSTRAINT dead_letters_replay CHECK (replayed_at IS NOT NULL OR (replay_note IS NULL AND replayed_as IS NULL));

-- Limits as SQL reads them. Plans, overrides and keys hold them as contracts/config.ts defines them; these functions say
-- the same as limitsWith, planWith, modelLimits, rulesOf and LIMITS there (a test compares). They read no tables, so
-- that the role `reporter` may run them inside views.

-- A set of limits with changes made to it. A limit that is removed stays as null, which limit_rules skips.
CREATE FUNCTION limits_with(limits jsonb, changes jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(limits, '{}') || coalesce(changes, '{}');

-- The limits on a tenant's use of a model, from the tenant's plan and overrides; `*` is the model that nobody named.
CREATE FUNCTION model_limits(plan jsonb, overrides jsonb, model text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN coalesce(plan -> 'perModel' ? model, false) OR coalesce(overrides -> 'perModel' ? model, false)
    THEN limits_with(coalesce(plan #> ARRAY['perModel', model], plan #> '{perModel,*}'), overrides #> ARRAY['perModel', model])
  ELSE limits_with(plan #> '{perModel,*}', overrides #> '{perModel,*}')
END;

-- A maximum as it is written: a number in the limit's unit, or US dollars in text, which become nano-USD.
CREATE FUNCTION limit_amount(value jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN jsonb_typeof(value) = 'number' THEN (value #>> '{}')::numeric
  WHEN jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^\d{1,7}(\.\d{1,9})?$'
    THEN trim_scale((value #>> '{}')::numeric * 1000000000)
END;

-- The rules of a set; what is null, or is no limit at all, gives none.
CREATE FUNCTION limit_rules(scope text, limits jsonb)
RETURNS TABLE (name text, kind text, unit text, period text, max numeric, soft boolean, alert_at_percent integer[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT
    CASE scope WHEN 'apiKey' THEN 'api-key:' WHEN 'model' THEN 'model:' ELSE '' END || f.name,
    f.kind,
    f.unit,
    f.period,
    m.max,
    coalesce(v.value -> 'soft' = 'true', false),
    ARRAY(
      SELECT (percent #>> '{}')::integer
      FROM jsonb_path_query(v.value, '$.alertAtPercent[*] ? (@.type() == "number")') AS percent
      ORDER BY 1
    )
  FROM (
    VALUES
      ('requestsPerMinute', 'requests-per-minute', 'rate', 'requests', NULL),
      ('tokensPerMinute', 'tokens-per-minute', 'rate', 'tokens', NULL),
      ('tokensPerDay', 'tokens-per-day', 'quota', 'tokens', 'day'),
      ('tokensPerMonth', 'tokens-per-month', 'quota', 'tokens', 'month'),
      ('concurrentJobs', 'concurrent-jobs', 'inFlight', 'requests', NULL),
      ('tokensInFlight', 'tokens-in-flight', 'inFlight', 'tokens', NULL),
      ('moneyPerMonth', 'money-per-month', 'quota', 'nanoUsd', 'month')
  ) AS f (key, name, kind, unit, period)
  CROSS JOIN LATERAL (SELECT limits -> f.key AS value) AS v
  CROSS JOIN LATERAL (
    SELECT coalesce(limit_amount(v.value), limit_amount(v.value -> 'max'), limit_amount(v.value -> 'usd')) AS max
  ) AS m
  WHERE m.max IS NOT NULL
$$;

CREATE VIEW v_tenant_limits AS
SELECT t.tenant_id, s.scope, s.subject, r.*
FROM tenants t
JOIN plan_versions p ON p.plan = t.plan AND p.valid @> now()
CROSS JOIN LATERAL (
  SELECT 'tenant', '', limits_with(p.definition -> 'limits', t.overrides -> 'limits')
  UNION ALL
  SELECT
    'apiKey', k.api_key_id::text,
    limits_with(limits_with(p.definition -> 'perApiKey', t.overrides -> 'perApiKey'), k.limits)
  FROM api_keys k
  WHERE k.tenant_id = t.tenant_id AND k.revoked_at IS NULL
  UNION ALL
  SELECT 'model', m.model, model_limits(p.definition, t.overrides, m.model)
  FROM (
    SELECT jsonb_object_keys(p.definition -> 'perModel') UNION SELECT jsonb_object_keys(t.overrides -> 'perModel')
  ) AS m (model)
) AS s (scope, subject, limits)
CROSS JOIN LATERAL limit_rules(s.scope, s.limits) AS r;
COMMENT ON VIEW v_tenant_limits IS
  'Limits in force now: plan, overrides and the key''s own. The subject is an API key, a model, * for every other model, or empty.';

-- When a day begins in a time zone: the first moment of that date there. n.b. where clocks go back at one o'clock to midnight
-- there are two midnights, and AT TIME ZONE takes the second. A midnight that is skipped is the moment at which it is.
CREATE FUNCTION day_begins(day date, zone text) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
  WHEN ((day::timestamp AT TIME ZONE zone) - interval '1 hour') AT TIME ZONE zone = day::timestamp
    THEN (day::timestamp AT TIME ZONE zone) - interval '1 hour'
  ELSE day::timestamp AT TIME ZONE zone
END;

CREATE VIEW v_period_use AS
SELECT
  t.tenant_id,
  t.time_zone,
  p.period,
  p.ago,
  s.began AS period_start,
  b.from_at,
  b.to_at,
  u.*
FROM tenants t
CROSS JOIN (
  VALUES
    ('day', interval '1 day', 0), ('day', interval '1 day', 1),
    ('month', interval '1 month', 0), ('month', interval '1 month', 1)
) AS p (period, length, ago)
CROSS JOIN LATERAL (SELECT date_trunc(p.period, now() AT TIME ZONE t.time_zone) - p.ago * p.length) AS l (began)
CROSS JOIN LATERAL (SELECT l.began::date, (l.began + p.length)::date) AS s (began, ended)
CROSS JOIN LATERAL (SELECT day_begins(s.began, t.time_zone), day_begins(s.ended, t.time_zone)) AS b (from_at, to_at)
CROSS JOIN LATERAL (
  SELECT
    CASE WHEN GROUPING(api_key_id) = 0 THEN 'apiKey' WHEN GROUPING(model) = 0 THEN 'model' ELSE 'tenant' END AS scope,
    coalesce(api_key_id::text, model, '') AS subject,
    api_key_id,
    model,
    min(bucket) AS first_bucket,
    sum(input_tokens + output_tokens) AS tokens,
    sum(overage_tokens) AS overage_tokens,
    sum(amount_nano_usd) AS nano_usd,
    sum(overage_nano_usd) AS overage_nano_usd
  FROM usage_15m
  WHERE tenant_id = t.tenant_id AND bucket >= b.from_at AND bucket < b.to_at
  GROUP BY GROUPING SETS ((), (api_key_id), (model))
  HAVING count(*) > 0
) AS u;
COMMENT ON VIEW v_period_use IS
  'Settled use of tenants, API keys and models in this (ago 0) and the last (ago 1) day and month of the tenant''s zone; only what had use.';

-- The limits of a period are those in force at its end, or now. Of a key's own limits only the present ones are known.
CREATE VIEW v_period_quotas AS
SELECT
  u.tenant_id,
  u.scope,
  u.subject,
  r.name,
  r.unit,
  r.period,
  u.ago,
  u.period_start,
  CASE r.unit WHEN 'nanoUsd' THEN u.nano_usd ELSE u.tokens END AS used,
  CASE r.unit WHEN 'nanoUsd' THEN u.overage_nano_usd ELSE u.overage_tokens END AS overage,
  r.max,
  r.soft,
  r.alert_at_percent
FROM v_period_use u
CROSS JOIN LATERAL (SELECT least(now(), u.to_at - interval '1 microsecond')) AS m (moment)
JOIN tenant_versions v ON v.tenant_id = u.tenant_id AND v.valid @> m.moment AND v.time_zone = u.time_zone
JOIN plan_versions d ON d.plan = v.plan AND d.valid @> m.moment
LEFT JOIN api_keys k USING (api_key_id)
CROSS JOIN LATERAL (
  SELECT *
  FROM limit_rules(
    u.scope,
    CASE u.scope
      WHEN 'tenant' THEN limits_with(d.definition -> 'limits', v.overrides -> 'limits')
      WHEN 'apiKey' THEN limits_with(limits_with(d.definition -> 'perApiKey', v.overrides -> 'perApiKey'), k.limits)
      WHEN 'model' THEN model_limits(d.definition, v.overrides, u.model)
    END
  )
  -- n.b. keeps the planner from summing the use once for each rule.
  OFFSET 0
) AS r
WHERE r.kind = 'quota' AND r.period = u.period;
COMMENT ON VIEW v_period_quotas IS
  'Settled use of each quota in this (ago 0) and the last (ago 1) day or month of the tenant''s zone; only tenants, keys and models with use then.';

CREATE VIEW v_quota_use AS
SELECT tenant_id, scope, subject, name, unit, period, period_start, used, overage, max, soft, alert_at_percent
FROM v_period_quotas
WHERE ago = 0;
COMMENT ON VIEW v_quota_use IS
  'Settled use of each quota in the current day or month of the tenant''s zone; only tenants, keys and models with use in it.';

-- That a quota was used to a percentage; once for each period, even if the limit is raised later.
CREATE TABLE limit_alerts (
  alert_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id    text NOT NULL,
  limit_name   text NOT NULL,
  -- API key or model; empty for the tenant as a whole.
  subject      text NOT NULL,
  -- First day of the period in the tenant's time zone.
  period_start date NOT NULL,
  percent      integer NOT NULL,
  -- When it was raised, in the limit's unit.
  used         numeric NOT NULL,
  max          numeric NOT NULL,
  raised_at    timestamptz NOT NULL DEFAULT now(),
  sent_at      timestamptz,
  UNIQUE (tenant_id, limit_name, subject, period_start, percent)
);
CREATE INDEX limit_alerts_unsent ON limit_alerts (alert_id) WHERE sent_at IS NULL;

CREATE VIEW v_estimate_error AS
SELECT
  l.tenant_id,
  (l.job_at AT TIME ZONE t.time_zone)::date AS day,
  l.model,
  count(*) AS jobs,
  sum(l.reserved_tokens) AS reserved_tokens,
  sum(l.input_tokens + l.output_tokens) AS used_tokens,
  sum(l.overage_tokens)::bigint AS overage_tokens,
  count(*) FILTER (WHERE l.overage_tokens > 0) AS overage_jobs,
  round(avg(greatest(l.reserved_tokens - l.input_tokens - l.output_tokens, 0) / greatest(l.input_tokens + l.output_tokens, 1)::numeric), 6)
    AS mean_over_estimate
FROM ledger l
JOIN tenants t USING (tenant_id)
WHERE l.phase = 2 AND l.state = 'succeeded' AND l.reserved_tokens > 0 AND l.job_at >= now() - interval '31 days'
GROUP BY l.tenant_id, day, l.model;
COMMENT ON VIEW v_estimate_error IS
  'What was held beside what succeeded jobs used, last 31 days. mean_over_estimate: unused part of the hold relative to the use, mean of jobs.';

-- Rows of jobs and results stay as they were written, as those of the ledger do: months of them are dropped, rows never. What was
-- exported is what is there as long as the number of rows is the same.
CREATE TRIGGER jobs_append_only BEFORE UPDATE OR DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER job_results_append_only BEFORE UPDATE OR DELETE ON job_results FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- n.b. triggers of statements are not handed down to partitions.
DO $$
DECLARE
  parent text;
  member regclass;
BEGIN
  FOREACH parent IN ARRAY ARRAY['jobs', 'job_results'] LOOP
    FOR member IN SELECT parent::regclass UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = parent::regclass LOOP
      EXECUTE format(
        'CREATE TRIGGER %I BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
        parent || '_not_emptied', member);
    END LOOP;
  END LOOP;
END;
$$;

-- Makes one partition unless it exists. Rows of that month which went to the default partition move along.
CREATE OR REPLACE PROCEDURE ensure_partition(parent text, month timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  month_start   timestamptz := date_trunc('month', month, 'UTC');
  -- n.b. adding a month must happen in UTC wall time, whatever the session's time zone.
  month_end     timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
  partition     text := format('%s_%s', parent, to_char(month_start AT TIME ZONE 'UTC', 'YYYY_MM'));
  default_table text := format('%s_default', parent);
  strays        boolean;
BEGIN
  -- Attaching waits for readers of the default partition; what queues up behind it must not wait long.
  PERFORM set_config('lock_timeout', '5s', true);
  PERFORM pg_advisory_xact_lock(hashtext('sluice.ensure_partition'));
  IF to_regclass(partition) IS NOT NULL THEN
    RETURN;
  END IF;
  EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', default_table);
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', partition, parent);
  EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE job_at >= %L AND job_at < %L)', default_table, month_start, month_end)
    INTO strays;
  IF strays THEN
    EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', default_table);
    EXECUTE format(
      'WITH moved AS (DELETE FROM %I WHERE job_at >= %L AND job_at < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
      default_table, month_start, month_end, partition);
    EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', default_table);
  END IF;
  -- ATTACH rather than PARTITION OF: it does not lock writers out of the parent.
  EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, partition, month_start, month_end);
  EXECUTE format(
    'CREATE TRIGGER %I BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
    parent || '_not_emptied', partition);
END;
$$;

-- Which months are gone. Reconciliation does not expect their rows.
CREATE TABLE dropped_partitions (
  dropped_partition_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  parent     text NOT NULL,
  name       text NOT NULL,
  from_at    timestamptz NOT NULL,
  to_at      timestamptz NOT NULL,
  rows       bigint NOT NULL,
  -- Hex, of the exported lines; null when the rows were dropped without an export.
  sha256     text,
  dropped_at timestamptz NOT NULL DEFAULT now()
);

-- A fact of a month that is gone may have been recorded in it: nothing can tell any more, and it would be billed twice.
CREATE FUNCTION refuse_dropped_month() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM dropped_partitions d WHERE d.parent = 'ledger' AND NEW.job_at >= d.from_at AND NEW.job_at < d.to_at
  ) THEN
    RAISE EXCEPTION 'the ledger of that month was dropped, so % cannot be recorded', NEW.job_id
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END;
$$;
CREATE TRIGGER ledger_month_not_dropped BEFORE INSERT ON ledger_default
  FOR EACH ROW EXECUTE FUNCTION refuse_dropped_month();

CREATE VIEW v_partitions AS
SELECT
  p.relname::text AS parent,
  c.relname::text AS name,
  substring(b.bound FROM $$FROM \('([^']+)'\)$$)::timestamptz AS from_at,
  substring(b.bound FROM $$TO \('([^']+)'\)$$)::timestamptz AS to_at,
  greatest(c.reltuples, 0)::bigint AS estimated_rows,
  pg_total_relation_size(c.oid) AS bytes
FROM pg_inherits i
JOIN pg_class p ON p.oid = i.inhparent
JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b (bound)
WHERE p.relkind = 'p' AND p.oid IN ('jobs'::regclass, 'ledger'::regclass, 'job_results'::regclass);
COMMENT ON VIEW v_partitions IS
  'Partitions of jobs, ledger and job_results with their months (UTC); the default ones have no bounds. Rows are the planner''s estimate.';

-- Opens the cursor `partition_export` on a partition's rows as lines of JSON, in the order of the key. Call it in a
-- transaction, then fetch_partition_export until it returns no rows.
CREATE FUNCTION open_partition_export(partition_name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  export refcursor := 'partition_export';
BEGIN
  IF NOT EXISTS (SELECT FROM v_partitions WHERE name = partition_name) THEN
    RAISE EXCEPTION 'there is no partition %', partition_name USING ERRCODE = 'restrict_violation';
  END IF;
  -- Times are written as the cursor moves on, in the zone of the session; the same rows must give the same text.
  PERFORM set_config('TimeZone', 'UTC', true);
  OPEN export FOR EXECUTE format(
    'SELECT row_to_json(p)::text FROM %I AS p ORDER BY job_id%s',
    partition_name, CASE WHEN partition_name LIKE 'ledger\_%' THEN ', phase' END);
END;
$$;

-- The next lines, as many as fill block_bytes and at least one; results may be large, so rows are no measure.
CREATE FUNCTION fetch_partition_export(block_bytes integer, OUT row_count integer, OUT lines text) LANGUAGE plpgsql AS $$
DECLARE
  export refcursor := 'partition_export';
  line   text;
  block  text[] := '{}';
  bytes  integer := 0;
BEGIN
  WHILE bytes < block_bytes LOOP
    FETCH export INTO line;
    EXIT WHEN NOT FOUND;
    block := block || line;
    bytes := bytes + octet_length(line) + 1;
  END LOOP;
  row_count := cardinality(block);
  lines := array_to_string(block || ''::text, E'\n');
END;
$$;

-- Runs a command that needs locks, which whoever comes after it must wait for as well: so it waits for a moment only (see
-- lock_timeout of the caller), gives up all that it locked, and tries again a little later. Fails with lock_not_available.
CREATE FUNCTION execute_when_free(command text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  FOR attempt IN 1 .. 5 LOOP
    BEGIN
      EXECUTE command;
      RETURN;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
      IF attempt = 5 THEN
        RAISE EXCEPTION 'it is in use' USING ERRCODE = 'lock_not_available';
      END IF;
    END;
    PERFORM pg_sleep(0.3 * attempt);
  END LOOP;
END;
$$;

-- Drops a month for good, all or nothing, and returns how many rows it had. expected_rows may be null for any. Refuses with
-- restrict_violation, the reason in words, and in the detail: row_count for another number of rows, busy when somebody else
-- has locked it for too long, kept for what would lose something.
CREATE FUNCTION drop_partition(partition_name text, expected_rows bigint, exported_sha256 text)
RETURNS bigint LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
DECLARE
  part   record;
  reason text;
  detail text := 'kept';
  found_rows bigint;
BEGIN
  PERFORM execute_when_free($c$SELECT pg_advisory_xact_lock(hashtext('sluice.ensure_partition'))$c$);
  SELECT * INTO part FROM v_partitions WHERE name = partition_name;
  IF NOT FOUND THEN
    reason := 'there is no such partition';
  ELSIF part.to_at IS NULL THEN
    reason := 'it is the default partition';
  ELSIF part.to_at > (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month') AT TIME ZONE 'UTC' THEN
    reason := 'this month, the one before and months to come are kept';
  ELSIF part.parent = 'ledger' AND EXISTS (SELECT FROM v_partitions WHERE parent = 'jobs' AND from_at = part.from_at) THEN
    reason := 'the jobs of that month are still there, and need their ledger';
  ELSIF EXISTS (
    SELECT
    FROM ledger r
    WHERE r.phase = 1 AND r.job_at >= part.from_at AND r.job_at < part.to_at
      AND NOT EXISTS (
        SELECT FROM ledger t
        WHERE t.job_id = r.job_id AND t.phase = 2 AND t.job_at = r.job_at
          AND t.job_at >= part.from_at AND t.job_at < part.to_at
      )
  ) THEN
    reason := 'some of its jobs have not ended';
  ELSE
    -- From here on nothing can be added; reading goes on.
    PERFORM execute_when_free(format('LOCK TABLE %I IN SHARE MODE', partition_name));
    EXECUTE format('SELECT count(*) FROM %I', partition_name) INTO found_rows;
    IF found_rows <> expected_rows THEN
      reason := format('it has %s rows and %s were expected', found_rows, expected_rows);
      detail := 'row_count';
    END IF;
  END IF;
  IF reason IS NULL THEN
    -- n.b. detaching locks the parent: nobody reads any month meanwhile.
    PERFORM execute_when_free(
      format('ALTER TABLE %I DETACH PARTITION %I; DROP TABLE %2$I', part.parent, partition_name));
    INSERT INTO dropped_partitions (parent, name, from_at, to_at, rows, sha256)
    VALUES (part.parent, part.name, part.from_at, part.to_at, found_rows, exported_sha256);
    RETURN found_rows;
  END IF;
  RAISE EXCEPTION '% is not dropped: %', partition_name, reason USING ERRCODE = 'restrict_violation', DETAIL = detail;
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION '% is not dropped: it is in use', partition_name USING ERRCODE = 'restrict_violation', DETAIL = 'busy';
END;
$$;

-- Reconciliation. A sweep ends what is past its deadline and hold_grace(); it runs several times in this time.
CREATE FUNCTION recon_grace() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 2 * hold_grace();

CREATE OR REPLACE VIEW v_recon_missing_terminal AS
SELECT j.job_id, j.tenant_id, j.model, j.class, j.reserved_tokens, j.expires_at, j.recorded_at, j.reserved_nano_usd
FROM jobs j
WHERE j.expires_at < now() - recon_grace()
  AND NOT EXISTS (SELECT FROM ledger l WHERE l.job_id = j.job_id AND l.phase = 2 AND l.job_at = j.job_at)
  AND NOT EXISTS (
    SELECT FROM dropped_partitions d WHERE d.parent = 'ledger' AND j.job_at >= d.from_at AND j.job_at < d.to_at
  );
COMMENT ON VIEW v_recon_missing_terminal IS
  'Jobs without a terminal entry although their deadline and twice the grace have passed. Reads all jobs. Zero rows when healthy.';

CREATE VIEW v_recon_missing_job AS
SELECT l.job_id, l.tenant_id, l.model, l.recorded_at
FROM ledger l
WHERE l.phase = 1
  AND NOT EXISTS (SELECT FROM jobs j WHERE j.job_id = l.job_id AND j.job_at = l.job_at)
  AND NOT EXISTS (
    SELECT FROM dropped_partitions d WHERE d.parent = 'jobs' AND l.job_at >= d.from_at AND l.job_at < d.to_at
  );
COMMENT ON VIEW v_recon_missing_job IS
  'Reserve entries without their job, which are written together: if it is open nobody sees it. Reads the ledger. Zero rows when healthy.';

CREATE VIEW v_recon_open_hold_past_expiry AS
WITH held AS (
  SELECT job_id, job_at
  FROM jobs
  WHERE expires_at >= (SELECT swept_until FROM hold_sweep) AND expires_at < now() - recon_grace()
  UNION
  SELECT job_id, job_at FROM overdue_jobs WHERE expires_at < now() - recon_grace()
)
SELECT
  j.job_id, j.tenant_id, j.model, j.class, j.reserved_tokens, j.reserved_nano_usd, j.expires_at, j.recorded_at,
  o.job_id IS NOT NULL AS swept
FROM held h
JOIN jobs j USING (job_id, job_at)
LEFT JOIN overdue_jobs o USING (job_id)
LEFT JOIN LATERAL (
  SELECT true AS ended FROM ledger l WHERE l.job_id = h.job_id AND l.phase = 2 AND l.job_at = h.job_at LIMIT 1
) AS terminal ON true
WHERE terminal.ended IS NULL;
COMMENT ON VIEW v_recon_open_hold_past_expiry IS
  'Holds that a load would still count although they are overdue: the sweep does not run or cannot end them. Cheap. '
  'A job that only v_recon_missing_terminal shows was lost by the sweep: it holds nothing and nobody will end it. Zero rows when healthy.';

CREATE VIEW v_recon_double_terminal AS
SELECT job_id, phase, count(*) AS entries, min(job_at) AS first_job_at, max(job_at) AS last_job_at, min(tenant_id) AS tenant_id
FROM ledger
WHERE phase <= 2
GROUP BY job_id, phase
HAVING count(*) > 1;
COMMENT ON VIEW v_recon_double_terminal IS
  'Jobs with more than one reserve or terminal entry, in any partitions. Zero rows when healthy.';

DROP VIEW v_recon_rollup_drift;
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
    sum(amount_nano_usd)::bigint AS amount_nano_usd,
    sum(reserved_tokens)::bigint AS reserved_tokens,
    sum(overage_tokens)::bigint AS overage_tokens,
    sum(overage_nano_usd)::bigint AS overage_nano_usd
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
  l.failed_jobs AS ledger_failed_jobs,
  u.failed_jobs AS rollup_failed_jobs,
  l.input_tokens AS ledger_input_tokens,
  u.input_tokens AS rollup_input_tokens,
  l.output_tokens AS ledger_output_tokens,
  u.output_tokens AS rollup_output_tokens,
  l.cached_tokens AS ledger_cached_tokens,
  u.cached_tokens AS rollup_cached_tokens,
  l.amount_nano_usd AS ledger_amount_nano_usd,
  u.amount_nano_usd AS rollup_amount_nano_usd,
  l.reserved_tokens AS ledger_reserved_tokens,
  u.reserved_tokens AS rollup_reserved_tokens,
  l.overage_tokens AS ledger_overage_tokens,
  u.overage_tokens AS rollup_overage_tokens,
  l.overage_nano_usd AS ledger_overage_nano_usd,
  u.overage_nano_usd AS rollup_overage_nano_usd
FROM from_ledger l
FULL JOIN usage_15m u USING (tenant_id, bucket, model, api_key_id)
WHERE (
    l.jobs, l.failed_jobs, l.input_tokens, l.output_tokens, l.cached_tokens, l.amount_nano_usd, l.reserved_tokens,
    l.overage_tokens, l.overage_nano_usd
  ) IS DISTINCT FROM (
    u.jobs, u.failed_jobs, u.input_tokens, u.output_tokens, u.cached_tokens, u.amount_nano_usd, u.reserved_tokens,
    u.overage_tokens, u.overage_nano_usd
  )
  AND NOT EXISTS (
    SELECT FROM dropped_partitions d WHERE d.parent = 'ledger' AND bucket >= d.from_at AND bucket < d.to_at
  );
COMMENT ON VIEW v_recon_rollup_drift IS
  'Roll-up rows that differ from the sums of the ledger, as far back as the ledger is kept. Zero rows when healthy.';

CREATE VIEW v_recon_over_limit AS
WITH used AS (
  SELECT * FROM v_period_use
),
-- The tenant's versions meet those of its plan; each pair is in force for a part of the period. n.b. a change counts
-- a few minutes longer: programs keep what they have read for a while.
in_force AS (
  SELECT
    u.tenant_id,
    u.period,
    u.period_start,
    u.scope,
    u.subject,
    v.valid * d.valid * tstzrange(u.from_at, u.to_at) AS valid,
    v.time_zone = u.time_zone
      -- What a key's own limits were before is not known.
      AND coalesce(k.limits_since = k.created_at OR k.limits_since + interval '5 minutes' <= u.from_at, true) AS is_known,
    CASE u.scope
      WHEN 'tenant' THEN limits_with(d.definition -> 'limits', v.overrides -> 'limits')
      WHEN 'apiKey' THEN limits_with(limits_with(d.definition -> 'perApiKey', v.overrides -> 'perApiKey'), k.limits)
      WHEN 'model' THEN model_limits(d.definition, v.overrides, u.model)
    END AS limits
  FROM used u
  JOIN tenant_versions v ON v.tenant_id = u.tenant_id
  CROSS JOIN LATERAL (SELECT tstzrange(lower(v.valid), upper(v.valid) + interval '5 minutes')) AS t (valid)
  JOIN plan_versions d ON d.plan = v.plan
    AND NOT isempty(
      t.valid * tstzrange(lower(d.valid), upper(d.valid) + interval '5 minutes') * tstzrange(u.from_at, u.to_at)
    )
  LEFT JOIN api_keys k USING (api_key_id)
),
-- A period counts when every part of it with use has a hard limit and the zone stayed the same.
largest AS (
  SELECT
    f.tenant_id, f.period, f.period_start, f.scope, f.subject, n.unit, max(r.name) AS name, max(r.max) AS max,
    range_agg(f.valid) AS known
  FROM in_force f
  JOIN (VALUES ('tokens', 'day'), ('tokens', 'month'), ('nanoUsd', 'month')) AS n (unit, period) USING (period)
  LEFT JOIN LATERAL limit_rules(f.scope, f.limits) AS r
    ON r.kind = 'quota' AND r.unit = n.unit AND r.period = f.period AND NOT r.soft
  GROUP BY f.tenant_id, f.period, f.period_start, f.scope, f.subject, n.unit
  HAVING bool_and(r.max IS NOT NULL AND f.is_known)
)
SELECT
  u.tenant_id, u.scope, u.subject, l.name, l.unit, u.period, u.period_start, q.used, q.overage, l.max,
  q.used - q.overage - l.max AS excess
FROM used u
JOIN largest l USING (tenant_id, period, period_start, scope, subject)
CROSS JOIN LATERAL (
  SELECT
    CASE l.unit WHEN 'nanoUsd' THEN u.nano_usd ELSE u.tokens END,
    CASE l.unit WHEN 'nanoUsd' THEN u.overage_nano_usd ELSE u.overage_tokens END
) AS q (used, overage)
-- What the limits were before history began is not known. The first bucket may have begun before the tenant did.
WHERE l.known @> tstzrange(
    least(u.first_bucket + interval '15 minutes', now(), u.to_at), least(now(), u.to_at)
  )
  AND q.used - q.overage > l.max;
COMMENT ON VIEW v_recon_over_limit IS
  'Tenants, API keys and models whose settled use of this or the last day or month, without what was booked as overage, exceeds the '
  'largest hard limit that was in force meanwhile. Zero rows when healthy.';

-- Runs one view v_recon_…: how many rows it has and the first of them. Dynamic, so that a view that is added is run.
CREATE FUNCTION run_reconciliation(view_name text, first_rows integer, OUT row_count bigint, OUT sample jsonb)
LANGUAGE plpgsql AS $$
BEGIN
  IF view_name NOT LIKE 'v\_recon\_%' THEN
    RAISE EXCEPTION '% is not a view of reconciliation', view_name USING ERRCODE = 'restrict_violation';
  END IF;
  EXECUTE format(
    'WITH found AS MATERIALIZED (SELECT * FROM %I)
     SELECT (SELECT count(*) FROM found),
       (SELECT coalesce(jsonb_agg(to_jsonb(s)), ''[]'') FROM (SELECT * FROM found LIMIT $1) AS s)',
    view_name) INTO row_count, sample USING first_rows;
END;
$$;

REVOKE EXECUTE ON FUNCTION
  open_partition_export(text),
  fetch_partition_export(integer),
  execute_when_free(text),
  drop_partition(text, bigint, text),
  run_reconciliation(text, integer)
FROM PUBLIC;
GRANT SELECT ON
  v_tenant_limits,
  v_period_use,
  v_period_quotas,
  v_quota_use,
  v_estimate_error,
  v_partitions,
  v_recon_missing_job,
  v_recon_open_hold_past_expiry,
  v_recon_double_terminal,
  v_recon_rollup_drift,
  v_recon_over_limit
TO reporter;
