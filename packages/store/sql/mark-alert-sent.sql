-- Notes that an alert was sent.
--   $1 bigint alert id
-- Returns a row when it had not been sent before.
UPDATE limit_alerts SET sent_at = now() WHERE alert_id = $1 AND sent_at IS NULL RETURNING alert_id;
