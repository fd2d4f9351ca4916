-- Keeps a message that could not be processed; the same queue, message id, attempts and payload are kept once.
--   $1 text queue, $2 text reason, $3 int attempts, $4 text type, $5 text message id, $6 uuid job id or null,
--   $7 jsonb headers, $8 bytea payload, $9 int full length of the payload in bytes, $10 text tenant id or null
INSERT INTO dead_letters (queue, reason, attempts, type, message_id, job_id, headers, payload, payload_bytes, tenant_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING;
