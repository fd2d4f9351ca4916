-- Records accepted and completed facts and adds what is new to the roll-up and the backlog, in one statement and so in one
-- transaction.
--
-- The ledger's key decides what is new; everything else follows from the rows it let in, so a replay adds nothing.
-- Ledger, roll-up and backlog are written in the order of their keys: writers of overlapping facts wait for each other
-- and never in a circle.
--
-- Accepted facts, parallel arrays:
--   $1 uuid[] job_id         $2 text[] tenant_id      $3 uuid[] api_key_id         $4 text[] model
--   $5 job_class[] class     $6 int[] input_tokens    $7 int[] max_output_tokens   $8 int[] reserved_tokens
--   $9 bigint[] expires_at (Unix ms)                  $10 jsonb[] metadata, null when absent
--   $11 bigint[] reserved_nano_usd                    $12 text[] idempotency_key_hash and $13 text[] fingerprint, null
--   $14 uuid[] replay_of, null for no replay          $15 smallint[] epoch         when the request had no key
-- Completed facts, parallel arrays:
--   $16 uuid[] job_id        $17 text[] tenant_id     $18 uuid[] api_key_id        $19 text[] model
--   $20 terminal_state[]     $21 int[] input_tokens   $22 int[] output_tokens      $23 int[] cached_tokens
--   $24 int[] attempt        $25 bigint[] started_at (Unix ms, null when unknown)  $26 bigint[] finished_at (Unix ms)
--   $27 text[] model_version, null when none ran      $28 jsonb[] error            $29 jsonb[] output, null when absent
--   $30 int[] reserved_tokens, $31 bigint[] reserved_nano_usd: what was held, null when unknown; then nothing is overage
-- Returns one row: accepted, completed uuid[], the jobs whose entry this call inserted, and amounts bigint[], nano-USD of
-- each completed one; null for none.
WITH accepted AS MATERIALIZED (
  SELECT *
  FROM unnest(
    $1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::job_class[], $6::int[], $7::int[], $8::int[], $9::bigint[],
    $10::jsonb[], $11::bigint[], $12::text[], $13::text[], $14::uuid[], $15::smallint[]
  ) AS a (
    job_id, tenant_id, api_key_id, model, class, input_tokens, max_output_tokens, reserved_tokens, expires_at_ms, metadata,
    reserved_nano_usd, idempotency_key_hash, fingerprint, replay_of, epoch
  )
),
completed AS MATERIALIZED (
  SELECT *
  FROM unnest(
    $16::uuid[], $17::text[], $18::uuid[], $19::text[], $20::terminal_state[], $21::int[], $22::int[], $23::int[],
    $24::int[], $25::bigint[], $26::bigint[], $27::text[], $28::jsonb[], $29::jsonb[], $30::int[], $31::bigint[]
  ) AS c (
    job_id, tenant_id, api_key_id, model, state, input_tokens, output_tokens, cached_tokens, attempt, started_at_ms,
    finished_at_ms, model_version, error, output, reserved_tokens, reserved_nano_usd
  )
),
-- Few rows, however many facts: the prices of the models at hand.
prices AS MATERIALIZED (
  SELECT price_id, model, meter, valid, nano_usd_per_million AS price
  FROM price_versions
  WHERE model IN (SELECT model FROM completed)
),
-- What is billed: everything that succeeded, and what a failed or canceled job used. Expired jobs are free.
billed AS (
  SELECT
    c.job_id,
    uuid7_time(c.job_id) AS job_at,
    c.model,
    c.input_tokens - c.cached_tokens AS fresh_tokens,
    c.cached_tokens,
    c.output_tokens
  FROM completed c
  WHERE c.state = 'succeeded' OR (c.state IN ('failed', 'canceled') AND c.input_tokens + c.output_tokens > 0)
),
amounts AS (
  SELECT
    b.job_id,
    i.price_id AS input_price_id,
    o.price_id AS output_price_id,
    h.price_id AS cached_price_id,
    r.price_id AS request_price_id,
    -- Exact until here, rounded once: round(numeric) goes half away from zero.
    round(
      (
        b.fresh_tokens::numeric * coalesce(i.price, 0)
        + b.cached_tokens::numeric * coalesce(h.price, 0)
        + b.output_tokens::numeric * coalesce(o.price, 0)
        + coalesce(r.price, 0)
      ) / 1000000
    )::bigint AS amount_nano_usd
  FROM billed b
  LEFT JOIN prices i ON i.model = b.model AND i.meter = 'input' AND i.valid @> b.job_at
  LEFT JOIN prices o ON o.model = b.model AND o.meter = 'output' AND o.valid @> b.job_at
  LEFT JOIN prices h ON h.model = b.model AND h.meter = 'cached' AND h.valid @> b.job_at
  LEFT JOIN prices r ON r.model = b.model AND r.meter = 'request' AND r.valid @> b.job_at
),
entries AS (
  INSERT INTO ledger (
    job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens, cached_tokens,
    amount_nano_usd, input_price_id, output_price_id, cached_price_id, request_price_id, reserved_tokens, overage_tokens,
    overage_nano_usd
  )
  SELECT
    job_id, uuid7_time(job_id), 1, tenant_id, api_key_id, model, NULL::terminal_state, input_tokens, max_output_tokens, 0,
    0, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, reserved_tokens, 0, 0
  FROM accepted
  UNION ALL
  SELECT
    job_id, uuid7_time(job_id), 2, c.tenant_id, c.api_key_id, c.model, c.state, c.input_tokens, c.output_tokens,
    c.cached_tokens, coalesce(m.amount_nano_usd, 0), m.input_price_id, m.output_price_id, m.cached_price_id,
    m.request_price_id, coalesce(c.reserved_tokens, 0),
    -- n.b. greatest() passes over null, which is what an unknown hold makes of the difference.
    greatest(0, c.input_tokens + c.output_tokens - c.reserved_tokens),
    greatest(0, coalesce(m.amount_nano_usd, 0) - c.reserved_nano_usd)
  FROM completed c
  LEFT JOIN amounts m USING (job_id)
  ORDER BY 1, 3
  ON CONFLICT DO NOTHING
  RETURNING
    job_id, job_at, phase, tenant_id, api_key_id, model, state, input_tokens, output_tokens, cached_tokens,
    amount_nano_usd, reserved_tokens, overage_tokens, overage_nano_usd
),
new_jobs AS (
  INSERT INTO jobs (
    job_id, job_at, tenant_id, api_key_id, model, class, input_tokens, max_output_tokens, reserved_tokens, expires_at,
    metadata, reserved_nano_usd, idempotency_key_hash, fingerprint, replay_of, epoch
  )
  SELECT
    job_id, e.job_at, a.tenant_id, a.api_key_id, a.model, a.class, a.input_tokens, a.max_output_tokens, a.reserved_tokens,
    to_timestamp(a.expires_at_ms / 1000.0::float8), a.metadata, a.reserved_nano_usd, a.idempotency_key_hash,
    a.fingerprint, a.replay_of, a.epoch
  FROM entries e
  JOIN accepted a USING (job_id)
  WHERE e.phase = 1
  ON CONFLICT DO NOTHING
  RETURNING job_id, job_at, tenant_id, expires_at
),
overdue AS (
  INSERT INTO overdue_jobs (job_id, job_at, tenant_id, expires_at)
  SELECT job_id, job_at, tenant_id, expires_at
  FROM new_jobs
  -- n.b. after a step of the clock, or on a standby that took over, the sweep's mark may lie ahead of now.
  WHERE expires_at < greatest(now(), (SELECT swept_until FROM hold_sweep))
  ON CONFLICT DO NOTHING
),
results AS (
  INSERT INTO job_results (job_id, job_at, started_at, finished_at, attempt, model_version, error, output)
  SELECT
    job_id, e.job_at, to_timestamp(c.started_at_ms / 1000.0::float8), to_timestamp(c.finished_at_ms / 1000.0::float8),
    c.attempt, c.model_version, c.error, c.output
  FROM entries e
  JOIN completed c USING (job_id)
  WHERE e.phase = 2
  ON CONFLICT DO NOTHING
),
rollup AS (
  INSERT INTO usage_15m AS u (
    tenant_id, bucket, model, api_key_id, jobs, failed_jobs, input_tokens, output_tokens, cached_tokens, amount_nano_usd,
    reserved_tokens, overage_tokens, overage_nano_usd
  )
  SELECT
    tenant_id, usage_bucket(job_at), model, api_key_id, count(*), count(*) FILTER (WHERE state <> 'succeeded'),
    sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(amount_nano_usd), sum(reserved_tokens),
    sum(overage_tokens), sum(overage_nano_usd)
  FROM entries
  WHERE phase = 2
  GROUP BY 1, 2, 3, 4
  ORDER BY 1, 2, 3, 4
  ON CONFLICT (tenant_id, bucket, model, api_key_id) DO UPDATE SET
    jobs = u.jobs + excluded.jobs,
    failed_jobs = u.failed_jobs + excluded.failed_jobs,
    input_tokens = u.input_tokens + excluded.input_tokens,
    output_tokens = u.output_tokens + excluded.output_tokens,
    cached_tokens = u.cached_tokens + excluded.cached_tokens,
    amount_nano_usd = u.amount_nano_usd + excluded.amount_nano_usd,
    reserved_tokens = u.reserved_tokens + excluded.reserved_tokens,
    overage_tokens = u.overage_tokens + excluded.overage_tokens,
    overage_nano_usd = u.overage_nano_usd + excluded.overage_nano_usd
),
-- New entries with what their jobs count for in the backlog, as the accepted facts of this call say it. A collector records
-- an end together with what it brings along of its accepted fact, so nearly every end has it.
counted AS MATERIALIZED (
  SELECT e.job_id, e.job_at, a.model, a.class, 3 - 2 * e.phase AS jobs, (3 - 2 * e.phase) * a.input_tokens AS input_tokens
  FROM entries e
  LEFT JOIN accepted a USING (job_id)
),
-- The others are left to v_backlog: their jobs may be recorded already, right now, or later.
early_ends AS (
  INSERT INTO backlog_ends (job_id, job_at)
  SELECT job_id, job_at
  FROM counted
  WHERE model IS NULL
  ON CONFLICT DO NOTHING
),
-- Both entries of a job in one call cancel out, and change no row.
backlog_changes AS (
  INSERT INTO backlog AS b (shard, model, class, jobs, input_tokens)
  SELECT backlog_shard(), model, class, sum(jobs), sum(input_tokens)
  FROM counted
  WHERE model IS NOT NULL
  GROUP BY 2, 3
  HAVING sum(jobs) <> 0 OR sum(input_tokens) <> 0
  ORDER BY 2, 3
  ON CONFLICT (shard, model, class) DO UPDATE SET
    jobs = b.jobs + excluded.jobs,
    input_tokens = b.input_tokens + excluded.input_tokens
)
SELECT
  array_agg(job_id) FILTER (WHERE phase = 1) AS accepted,
  array_agg(job_id) FILTER (WHERE phase = 2) AS completed,
  array_agg(amount_nano_usd) FILTER (WHERE phase = 2) AS amounts
FROM entries;
