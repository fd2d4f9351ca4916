-- Alerts that nobody was told of yet, oldest first.
--   $1 int how many at most
SELECT
  alert_id, tenant_id, limit_name, subject, period_start::text, percent, used::text, max::text,
  extract(epoch FROM raised_at) * 1000 AS raised_at_ms
FROM limit_alerts
WHERE sent_at IS NULL
ORDER BY alert_id
LIMIT $1;
