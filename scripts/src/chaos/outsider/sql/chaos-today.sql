-- Which day it is now in each tenant's calendar.
--   $1 text[] tenants
SELECT tenant_id AS "tenantId", to_char(now() AT TIME ZONE time_zone, 'YYYY-MM-DD') AS day
FROM tenants
WHERE tenant_id = ANY ($1);
