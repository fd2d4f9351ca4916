-- Changes an API key that was not revoked and returns it as list-api-keys.sql does, with its tenant; no row when there is none.
--   $1 uuid API key id, $2 text name and $3 jsonb limits; null leaves either as it is,
--   $4 boolean whether to set the expiry, $5 bigint expiry (Unix ms); null for never
UPDATE api_keys AS k SET
  name = coalesce($2::text, k.name),
  limits = coalesce($3::jsonb, k.limits),
  expires_at = CASE WHEN $4::boolean THEN to_timestamp($5::bigint / 1000.0::float8) ELSE k.expires_at END
WHERE k.api_key_id = $1 AND k.revoked_at IS NULL
RETURNING
  k.tenant_id,
  k.api_key_id,
  k.name,
  k.prefix,
  k.limits,
  (SELECT p.user_id FROM producers p WHERE p.api_key_id = k.api_key_id) AS producer,
  extract(epoch FROM k.created_at) * 1000 AS created_at_ms,
  extract(epoch FROM k.expires_at) * 1000 AS expires_at_ms,
  extract(epoch FROM k.revoked_at) * 1000 AS revoked_at_ms;
