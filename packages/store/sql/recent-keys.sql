-- Idempotency-Keys of a tenant's jobs, newest first. Walks the index of the tenant's jobs from the newest on, those without
-- a key too, so that it costs no more for a tenant with many jobs and few keys: at most four times as many jobs as keys.
--   $1 text tenant id, $2 bigint accepted at or after this (Unix ms), $3 uuid the smallest job id of that time,
--   $4 int how many keys at most
-- Returns one row:
--   keys json, array of {key_hash, fingerprint, job_id, accepted_at_ms}
--   since_ms bigint: the keys are all of the jobs accepted at or after this; $2 unless there were too many
WITH recent AS MATERIALIZED (
  SELECT
    job_id,
    idempotency_key_hash AS key_hash,
    fingerprint,
    (extract(epoch FROM job_at) * 1000)::bigint AS accepted_at_ms
  FROM jobs
  WHERE tenant_id = $1 AND job_id >= $3 AND job_at >= to_timestamp($2::bigint / 1000.0::float8)
  ORDER BY job_id DESC
  LIMIT 4 * $4::int
),
keys AS MATERIALIZED (
  SELECT * FROM recent WHERE key_hash IS NOT NULL ORDER BY job_id DESC LIMIT $4
),
-- Where something was cut off, others of the oldest millisecond may be missing.
bounds AS (
  SELECT
    CASE WHEN (SELECT count(*) FROM recent) = 4 * $4::int THEN (SELECT min(accepted_at_ms) FROM recent) + 1 END AS jobs_since_ms,
    CASE WHEN (SELECT count(*) FROM keys) = $4 THEN (SELECT min(accepted_at_ms) FROM keys) + 1 END AS keys_since_ms
)
SELECT
  coalesce((SELECT json_agg(keys ORDER BY job_id DESC) FROM keys), '[]') AS keys,
  (SELECT greatest($2::bigint, jobs_since_ms, keys_since_ms) FROM bounds) AS since_ms;
