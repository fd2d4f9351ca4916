-- Creates a tenant or changes it. Past usage is re-cut by a new zone.
--   $1 text tenant id, $2 text plan, $3 text IANA time zone, $4 jsonb overrides; null leaves either as it is,
--   or UTC and none for a new tenant
INSERT INTO tenants AS t (tenant_id, plan, time_zone, overrides)
VALUES ($1, $2, coalesce($3::text, 'UTC'), coalesce($4::jsonb, '{}'))
ON CONFLICT (tenant_id) DO UPDATE SET
  plan = excluded.plan,
  time_zone = coalesce($3::text, t.time_zone),
  overrides = coalesce($4::jsonb, t.overrides),
  updated_at = now()
WHERE (t.plan, t.time_zone, t.overrides)
  IS DISTINCT FROM (excluded.plan, coalesce($3::text, t.time_zone), coalesce($4::jsonb, t.overrides));
