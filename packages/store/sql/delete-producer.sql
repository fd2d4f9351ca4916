-- Ends a user's right to submit and revokes the key its jobs were attributed to; returns a row when it had the right.
--   $1 text user id
WITH deleted AS (
  DELETE FROM producers WHERE user_id = $1 RETURNING api_key_id
)
UPDATE api_keys k SET revoked_at = coalesce(revoked_at, now())
FROM deleted
WHERE k.api_key_id = deleted.api_key_id
RETURNING k.api_key_id;
