-- For whom a user of the broker submits, and until when (Unix ms); no row when it is unknown or its key was revoked. One whose
-- key has expired is found: whoever asks compares.
--   $1 text user id
SELECT p.tenant_id, p.api_key_id, t.plan, t.time_zone, t.overrides, k.limits, extract(epoch FROM k.expires_at) * 1000 AS expires_at_ms
FROM producers p
JOIN tenants t USING (tenant_id)
JOIN api_keys k USING (api_key_id)
WHERE p.user_id = $1 AND k.revoked_at IS NULL;
