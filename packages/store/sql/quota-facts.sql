-- What a tenant's limits start from: what settled jobs used, by when they were accepted, and the open jobs. One statement and
-- so one snapshot: a job that ends meanwhile is in one of the two, never in both or neither.
--   $1 text tenant id
--   Windows [from, to), parallel bigint[], Unix ms: $2 from, $3 begin and $4 end of the whole 15-minute buckets within,
--   $5 to, $2 <= $3 <= $4 <= $5
--   Measures, parallel: $6 text[] scope: tenant | apiKey | model, $7 text[] unit: requests | tokens | nanoUsd, and either
--   $8 int[] which of the windows, from 1, or of a rate $9 bigint[] max and $10 bigint[] window (ms) in which max refills
--   $11 bigint now (Unix ms) by the clock that jobs are dated by, which rates are told as of; null: by that of PostgreSQL
-- Returns one row:
--   amounts json, array of {measure, subject, used, overage}, measure from 0, subject '' or an API key or a model; those
--     of 0 are absent. In a window `used` is what settled jobs used. Of a rate it is what a bucket that is never fuller than
--     max lacks now, open jobs included, and may have a fraction.
--   open_holds json, array of {job_id, api_key_id, model, reserved_tokens, reserved_nano_usd, expires_at_ms, accepted_at_ms}
WITH windows AS MATERIALIZED (
  SELECT
    position,
    to_timestamp(from_ms / 1000.0::float8) AS from_at,
    to_timestamp(begin_ms / 1000.0::float8) AS begin_at,
    to_timestamp(end_ms / 1000.0::float8) AS end_at,
    to_timestamp(to_ms / 1000.0::float8) AS to_at
  FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    WITH ORDINALITY AS w (from_ms, begin_ms, end_ms, to_ms, position)
),
measures AS MATERIALIZED (
  SELECT *
  FROM unnest($6::text[], $7::text[], $8::int[], $9::bigint[], $10::bigint[])
    WITH ORDINALITY AS m (scope, unit, window_position, max, window_ms, position)
),
-- The time by which jobs are dated, and how far it is ahead of PostgreSQL's own, by which recorded_at is. n.b. in seconds: a
-- day of an interval would be as long as the session's time zone has it.
clock AS MATERIALIZED (
  SELECT now_at, make_interval(secs => extract(epoch FROM now_at - now())::float8) AS ahead, usage_bucket(now_at) - interval '15 minutes' AS recent_at
  FROM (SELECT coalesce(to_timestamp($11::bigint / 1000.0::float8), now()) AS now_at) AS c
),
-- Of a rate, what is recent is read from the ledger, exact to the millisecond; what is older from the roll-up.
rates AS MATERIALIZED (
  SELECT
    position,
    scope,
    unit,
    max::float8 AS max,
    window_ms::float8 AS window_ms,
    floor(extract(epoch FROM now_at) * 1000)::float8 AS now_ms,
    ahead,
    recent_at,
    (extract(epoch FROM recent_at) * 1000)::float8 AS recent_ms
  FROM measures, clock
  WHERE window_ms IS NOT NULL
),
-- Whole buckets come from the roll-up, what lies before and after them from the ledger itself, as do the last minutes of
-- rates (position 0), by the index of each tenant's entries; and only when the roll-up says that there are some.
spans AS MATERIALIZED (
  SELECT position, from_at, to_at
  FROM (
    SELECT position, from_at, begin_at AS to_at FROM windows
    UNION ALL
    SELECT position, end_at, to_at FROM windows
    UNION ALL
    SELECT DISTINCT 0, recent_at, timestamptz 'infinity' FROM rates
  ) AS s
  WHERE from_at < to_at
    AND EXISTS (
      SELECT FROM usage_15m u WHERE u.tenant_id = $1 AND u.bucket >= usage_bucket(s.from_at) AND u.bucket < s.to_at
    )
),
entries AS MATERIALIZED (
  SELECT s.position, l.*
  FROM spans s
  CROSS JOIN LATERAL (
    SELECT
      job_at, api_key_id, model, (phase = 2)::int AS jobs, input_tokens + output_tokens AS tokens,
      amount_nano_usd AS nano_usd, overage_tokens, overage_nano_usd
    FROM ledger
    WHERE tenant_id = $1 AND phase >= 2 AND job_at >= s.from_at AND job_at < s.to_at
    -- n.b. keeps the planner from joining the other way round, which would read the whole ledger.
    OFFSET 0
  ) AS l
),
settled AS MATERIALIZED (
  SELECT
    position, api_key_id, model, sum(jobs) AS jobs, sum(tokens) AS tokens, sum(nano_usd) AS nano_usd,
    sum(overage_tokens) AS overage_tokens, sum(overage_nano_usd) AS overage_nano_usd
  FROM (
    SELECT
      w.position, u.api_key_id, u.model, u.jobs, u.input_tokens + u.output_tokens AS tokens, u.amount_nano_usd AS nano_usd,
      u.overage_tokens, u.overage_nano_usd
    FROM windows w
    JOIN usage_15m u ON u.tenant_id = $1 AND u.bucket >= w.begin_at AND u.bucket < w.end_at
    UNION ALL
    SELECT position, api_key_id, model, jobs, tokens, nano_usd, overage_tokens, overage_nano_usd
    FROM entries
    WHERE position > 0
  ) AS parts
  GROUP BY position, api_key_id, model
),
-- Jobs behind the sweep's mark are known to have ended or are listed in overdue_jobs.
candidates AS MATERIALIZED (
  SELECT job_id, job_at, api_key_id, model, reserved_tokens, reserved_nano_usd, expires_at
  FROM jobs
  WHERE tenant_id = $1 AND expires_at >= (SELECT swept_until FROM hold_sweep)
  UNION
  SELECT j.job_id, j.job_at, j.api_key_id, j.model, j.reserved_tokens, j.reserved_nano_usd, j.expires_at
  FROM overdue_jobs o
  JOIN jobs j USING (job_id, job_at)
  WHERE o.tenant_id = $1
),
holds AS MATERIALIZED (
  SELECT
    c.job_id,
    c.api_key_id,
    c.model,
    c.reserved_tokens,
    c.reserved_nano_usd,
    (extract(epoch FROM c.expires_at) * 1000)::bigint AS expires_at_ms,
    (extract(epoch FROM c.job_at) * 1000)::bigint AS accepted_at_ms
  FROM candidates c
  -- n.b. the limit keeps the planner from joining with the whole ledger: one look-up in one partition for each job.
  LEFT JOIN LATERAL (
    SELECT true AS ended FROM ledger l WHERE l.job_id = c.job_id AND l.phase = 2 AND l.job_at = c.job_at LIMIT 1
  ) AS terminal ON true
  WHERE terminal.ended IS NULL
),
-- What took from the buckets of rates and when: what was held by the job's own time, what it used beyond by the time at
-- which that was recorded, for then the bucket went into debt. A roll-up row counts as of the end of its 15 minutes. float8
-- is exact here: units times windows in milliseconds stay below 2^53, and it is much faster than numeric.
takings AS MATERIALIZED (
  SELECT
    (extract(epoch FROM u.bucket + interval '15 minutes') * 1000)::float8 AS at_ms, true AS is_before, u.api_key_id, u.model,
    u.jobs::float8 AS jobs, (u.input_tokens + u.output_tokens - u.overage_tokens)::float8 AS tokens,
    (u.amount_nano_usd - u.overage_nano_usd)::float8 AS nano_usd, 0::float8 AS overage_tokens, 0::float8 AS overage_nano_usd
  FROM (SELECT DISTINCT recent_at FROM rates) AS r
  JOIN usage_15m u ON u.tenant_id = $1 AND u.bucket >= r.recent_at - interval '1 day' AND u.bucket < r.recent_at
  UNION ALL
  SELECT
    (extract(epoch FROM job_at) * 1000)::float8, false, api_key_id, model, jobs, tokens - overage_tokens,
    nano_usd - overage_nano_usd, 0, 0
  FROM entries
  WHERE position = 0
  UNION ALL
  SELECT
    floor(extract(epoch FROM l.recorded_at + r.ahead) * 1000)::float8, l.recorded_at < r.recent_at - r.ahead, l.api_key_id,
    l.model, 0, l.overage_tokens, l.overage_nano_usd, l.overage_tokens, l.overage_nano_usd
  FROM (SELECT DISTINCT recent_at, ahead FROM rates) AS r
  JOIN ledger l ON l.tenant_id = $1 AND l.recorded_at >= r.recent_at - r.ahead - interval '1 day'
    AND (l.overage_tokens > 0 OR l.overage_nano_usd > 0)
  UNION ALL
  SELECT h.accepted_at_ms, h.accepted_at_ms < r.recent_ms, h.api_key_id, h.model, 1, h.reserved_tokens, h.reserved_nano_usd, 0, 0
  FROM (SELECT DISTINCT recent_ms FROM rates) AS r
  CROSS JOIN holds h
),
-- For each scope and subject, at each moment of the recent part and of what was before: what was taken since.
since AS MATERIALIZED (
  SELECT
    s.scope, t.subject, t.is_before, t.at_ms, sum(t.jobs) OVER later AS jobs, sum(t.tokens) OVER later AS tokens,
    sum(t.nano_usd) OVER later AS nano_usd, sum(t.overage_tokens) OVER later AS overage_tokens,
    sum(t.overage_nano_usd) OVER later AS overage_nano_usd
  FROM (SELECT DISTINCT scope FROM rates) AS s
  CROSS JOIN LATERAL (
    SELECT
      CASE s.scope WHEN 'tenant' THEN '' WHEN 'apiKey' THEN api_key_id::text ELSE model END COLLATE "C" AS subject, takings.*
    FROM takings
  ) AS t
  WINDOW later AS (PARTITION BY s.scope, t.subject, t.is_before ORDER BY t.at_ms DESC)
),
-- The backlog of a bucket is the most that was taken since any moment beyond what came back since then. In units times
-- window_ms, so that all numbers are whole.
peaks AS MATERIALIZED (
  SELECT r.position, s.*
  FROM rates r
  -- n.b. one hash aggregate for each rate: sorting all of them at once by rate and subject takes longer than all the rest.
  CROSS JOIN LATERAL (
    SELECT
      subject, is_before, max(units) AS units, max(overage) AS overage, max(units - refilled) AS units_peak,
      max(overage - refilled) AS overage_peak
    FROM (
      SELECT
        subject,
        is_before,
        r.window_ms * CASE r.unit WHEN 'requests' THEN jobs WHEN 'tokens' THEN tokens ELSE nano_usd END AS units,
        r.window_ms * CASE r.unit WHEN 'requests' THEN 0 WHEN 'tokens' THEN overage_tokens ELSE overage_nano_usd END AS overage,
        -- A job whose time has not come by this clock counts as one of now.
        r.max * greatest(0, CASE WHEN is_before THEN r.recent_ms ELSE r.now_ms END - at_ms) AS refilled
      FROM since
      WHERE since.scope = r.scope
    ) AS moments
    GROUP BY subject, is_before
  ) AS s
),
-- What was lacking before the recent part is known to 15 minutes only, so it is bounded by what admission allows as well:
-- max, and what overage added.
backlogs AS (
  SELECT position, subject, used / window_ms AS used, least(used, overage) / window_ms AS overage
  FROM (
    SELECT
      r.position,
      subject,
      r.window_ms,
      greatest(
        0,
        now.units_peak,
        greatest(0, least(coalesce(before.units_peak, 0), r.max * r.window_ms + greatest(0, before.overage_peak)))
          + coalesce(now.units, 0) - r.max * (r.now_ms - r.recent_ms)
      ) AS used,
      greatest(
        0,
        now.overage_peak,
        greatest(0, before.overage_peak) + coalesce(now.overage, 0) - r.max * (r.now_ms - r.recent_ms)
      ) AS overage
    FROM (SELECT * FROM peaks WHERE NOT is_before) AS now
    FULL JOIN (SELECT * FROM peaks WHERE is_before) AS before USING (position, subject)
    JOIN rates r USING (position)
  ) AS b
),
amounts AS (
  SELECT
    m.position,
    CASE m.scope WHEN 'tenant' THEN '' WHEN 'apiKey' THEN s.api_key_id::text ELSE s.model END AS subject,
    sum(CASE m.unit WHEN 'requests' THEN s.jobs WHEN 'tokens' THEN s.tokens ELSE s.nano_usd END) AS used,
    sum(CASE m.unit WHEN 'requests' THEN 0 WHEN 'tokens' THEN s.overage_tokens ELSE s.overage_nano_usd END) AS overage
  FROM measures m
  JOIN settled s ON s.position = m.window_position
  GROUP BY 1, 2
  UNION ALL
  SELECT position, subject, used, overage FROM backlogs
)
SELECT
  coalesce((
    SELECT json_agg(json_build_object('measure', position - 1, 'subject', subject, 'used', used, 'overage', overage))
    FROM amounts
    WHERE used <> 0 OR overage <> 0
  ), '[]') AS amounts,
  coalesce((SELECT json_agg(holds ORDER BY job_id) FROM holds), '[]') AS open_holds;
