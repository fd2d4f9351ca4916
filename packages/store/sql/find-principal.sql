-- Who an API key belongs to and what limits both have of their own; no row when it is unknown, revoked or expired.
--   $1 bytea hash of the key, 32 bytes
SELECT k.tenant_id, k.api_key_id, t.plan, t.time_zone, t.overrides, k.limits
FROM api_keys k
JOIN tenants t USING (tenant_id)
WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now());
