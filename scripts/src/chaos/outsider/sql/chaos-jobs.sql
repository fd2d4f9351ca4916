-- Every accepted job, as it was recorded, with the request that its client wrote into the metadata.
--   $1 text[] tenants
SELECT
  job_id::text AS "jobId",
  tenant_id AS "tenantId",
  api_key_id::text AS "apiKeyId",
  model,
  extract(epoch FROM job_at)::float8 * 1000 AS "atMs",
  reserved_tokens AS "reservedTokens",
  metadata ->> 'request' AS request,
  idempotency_key_hash AS "keyHash"
FROM jobs
WHERE tenant_id = ANY ($1)
ORDER BY job_id;
