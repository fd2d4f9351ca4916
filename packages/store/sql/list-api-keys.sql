-- All API keys of a tenant, also revoked and expired ones and those of producers, oldest first; times in Unix ms.
--   $1 text tenant id
SELECT
  k.api_key_id,
  k.name,
  k.prefix,
  k.limits,
  p.user_id AS producer,
  extract(epoch FROM k.created_at) * 1000 AS created_at_ms,
  extract(epoch FROM k.expires_at) * 1000 AS expires_at_ms,
  extract(epoch FROM k.revoked_at) * 1000 AS revoked_at_ms
FROM api_keys k
LEFT JOIN producers p USING (api_key_id)
WHERE k.tenant_id = $1
ORDER BY k.created_at, k.api_key_id;
