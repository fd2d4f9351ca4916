-- Lets a user of the broker submit for a tenant; api_key_id is null when the tenant does not exist.
--   $1 text user id, $2 text tenant id
SELECT upsert_producer($1, $2) AS api_key_id;
