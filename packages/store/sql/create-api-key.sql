-- Stores a new API key of an existing tenant and returns its id; no row when the tenant does not exist.
--   $1 text tenant id, $2 text name, $3 bytea hash, 32 bytes, $4 text prefix, $5 bigint expiry (Unix ms) or null,
--   $6 jsonb the key's own limits
INSERT INTO api_keys (tenant_id, name, key_hash, prefix, expires_at, limits)
SELECT tenant_id, $2, $3, $4, to_timestamp($5::bigint / 1000.0::float8), $6
FROM tenants
WHERE tenant_id = $1
RETURNING api_key_id;
