-- The ledger, with the day of the tenant's calendar that each job was accepted on. Money as text: it is a bigint.
--   $1 text[] tenants
SELECT
  l.job_id::text AS "jobId",
  l.phase,
  l.state::text AS state,
  l.tenant_id AS "tenantId",
  l.api_key_id::text AS "apiKeyId",
  l.model,
  l.input_tokens AS "inputTokens",
  l.output_tokens AS "outputTokens",
  l.cached_tokens AS "cachedTokens",
  l.amount_nano_usd::text AS "amountNanoUsd",
  l.reserved_tokens AS "reservedTokens",
  l.overage_tokens AS "overageTokens",
  l.overage_nano_usd::text AS "overageNanoUsd",
  extract(epoch FROM l.job_at)::float8 * 1000 AS "atMs",
  extract(epoch FROM l.recorded_at)::float8 * 1000 AS "recordedAtMs",
  to_char(l.job_at AT TIME ZONE t.time_zone, 'YYYY-MM-DD') AS day
FROM ledger l
JOIN tenants t USING (tenant_id)
WHERE l.tenant_id = ANY ($1)
ORDER BY l.job_id, l.phase;
