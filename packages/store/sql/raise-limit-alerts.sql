-- Notes which quotas have been used to a percentage that is alerted on, in the current day or month of each tenant's zone.
-- Looks at tenants that have an alert somewhere in plan, overrides or keys, and at what they used this month.
-- Returns the alerts that are new; of several callers at once one gets each.
INSERT INTO limit_alerts AS a (tenant_id, limit_name, subject, period_start, percent, used, max)
SELECT q.tenant_id, q.name, q.subject, q.period_start, p.percent, q.used, q.max
FROM v_quota_use q
CROSS JOIN LATERAL unnest(q.alert_at_percent) AS p (percent)
WHERE q.tenant_id IN (
    SELECT t.tenant_id
    FROM tenants t
    JOIN plan_versions v ON v.plan = t.plan AND v.valid @> now()
    WHERE jsonb_path_exists(v.definition, '$.**.alertAtPercent[*]')
      OR jsonb_path_exists(t.overrides, '$.**.alertAtPercent[*]')
      OR EXISTS (
        SELECT FROM api_keys k
        WHERE k.tenant_id = t.tenant_id AND jsonb_path_exists(k.limits, '$.**.alertAtPercent[*]')
      )
  )
  AND q.used * 100 >= p.percent * q.max
  AND NOT EXISTS (
    SELECT FROM limit_alerts o
    WHERE (o.tenant_id, o.limit_name, o.subject, o.period_start, o.percent)
      = (q.tenant_id, q.name, q.subject, q.period_start, p.percent)
  )
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT DO NOTHING
RETURNING
  alert_id, tenant_id, limit_name, subject, period_start::text, percent, used::text, max::text,
  extract(epoch FROM raised_at) * 1000 AS raised_at_ms;
