-- The newest job of a tenant that was accepted under an Idempotency-Key.
--   $1 text tenant id, $2 text hash of the key, $3 bigint accepted at or after this (Unix ms)
SELECT job_id, fingerprint
FROM jobs
WHERE tenant_id = $1 AND idempotency_key_hash = $2 AND job_at >= to_timestamp($3::bigint / 1000.0::float8)
ORDER BY job_id DESC
LIMIT 1;
