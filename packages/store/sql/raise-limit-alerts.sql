-- Notes which quotas have been used to a percentage that is alerted on, in this or the last day or month of each tenant's
-- zone: jobs of the last end in this one, too. Looks at tenants that have, or had then, an alert somewhere in plan, overrides
-- or keys, and at what they used this month and the last.
-- Returns the alerts that are new; of several callers at once one gets each.
INSERT INTO limit_alerts AS a (tenant_id, limit_name, subject, period_start, percent, used, max)
SELECT q.tenant_id, q.name, q.subject, q.period_start, p.percent, q.used, q.max
FROM v_period_quotas q
CROSS JOIN LATERAL unnest(q.alert_at_percent) AS p (percent)
WHERE q.tenant_id IN (
    SELECT t.tenant_id
    FROM tenant_versions t
    JOIN plan_versions v ON v.plan = t.plan AND (upper(v.valid) IS NULL OR upper(v.valid) > now() - interval '2 months')
    WHERE (upper(t.valid) IS NULL OR upper(t.valid) > now() - interval '2 months')
      AND (
        jsonb_path_exists(v.definition, '$.**.alertAtPercent[*]') OR jsonb_path_exists(t.overrides, '$.**.alertAtPercent[*]')
      )
    UNION
    SELECT tenant_id FROM api_keys WHERE jsonb_path_exists(limits, '$.**.alertAtPercent[*]')
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
