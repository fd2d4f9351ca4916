-- Revokes an API key; returns a row when it was valid until now.
--   $1 uuid API key id
UPDATE api_keys SET revoked_at = now() WHERE api_key_id = $1 AND revoked_at IS NULL RETURNING api_key_id;
