-- One tenant as it is stored; times in Unix ms.
--   $1 text tenant id
SELECT
  tenant_id,
  plan,
  time_zone,
  overrides,
  extract(epoch FROM created_at) * 1000 AS created_at_ms,
  extract(epoch FROM updated_at) * 1000 AS updated_at_ms
FROM tenants
WHERE tenant_id = $1;
