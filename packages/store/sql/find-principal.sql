-- Who an API key belongs to, what limits both have of their own, and until when (Unix ms) it may be used; no row when it is unknown, revoked or expired.
--   $1 bytea hash of the key, 32 bytes
SELECT k.tenant_id, k.api_key_id, t.plan, t.time_zone, t.overrides, k.limits, extract(epoch FROM k.expires_at) * 1000 AS expires_at_ms
FROM api_keys k
JOIN tenants t USING (tenant_id)
WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now());
