-- Creates a tenant or changes its plan and time zone. Past usage is re-cut by the new zone.
--   $1 text tenant id, $2 text plan, $3 text IANA time zone
INSERT INTO tenants AS t (tenant_id, plan, time_zone)
VALUES ($1, $2, $3)
ON CONFLICT (tenant_id) DO UPDATE SET plan = excluded.plan, time_zone = excluded.time_zone, updated_at = now()
WHERE (t.plan, t.time_zone) IS DISTINCT FROM (excluded.plan, excluded.time_zone);
