-- Users of the broker that may submit for a tenant, by name; times in Unix ms.
--   $1 text tenant id
SELECT p.user_id, p.tenant_id, p.api_key_id, extract(epoch FROM p.created_at) * 1000 AS created_at_ms
FROM producers p
JOIN api_keys k USING (api_key_id)
WHERE p.tenant_id = $1 AND k.revoked_at IS NULL
ORDER BY p.user_id;
