-- Tenants in the order of their ids (by bytes, so that a page ends where the next begins); times in Unix ms.
--   $1 text the id after which to go on; empty to begin, $2 int how many at most
SELECT
  tenant_id,
  plan,
  time_zone,
  overrides,
  extract(epoch FROM created_at) * 1000 AS created_at_ms,
  extract(epoch FROM updated_at) * 1000 AS updated_at_ms
FROM tenants
WHERE tenant_id COLLATE "C" > $1
ORDER BY tenant_id COLLATE "C"
LIMIT $2;
