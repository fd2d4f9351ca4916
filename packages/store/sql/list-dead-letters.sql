-- Dead letters without their payloads, newest first.
--   $1 bigint only letters with a smaller id, $2 text open | replayed or null for both, $3 text queue, $4 text reason,
--   $5 text tenant id, $6 uuid job id, each null for any, $7 int how many at most
-- Times are Unix milliseconds.
SELECT
  dead_letter_id,
  extract(epoch FROM recorded_at) * 1000 AS recorded_at_ms,
  queue,
  reason,
  attempts,
  type,
  message_id,
  job_id,
  tenant_id,
  payload_bytes,
  octet_length(payload) AS kept_bytes,
  extract(epoch FROM replayed_at) * 1000 AS replayed_at_ms,
  replay_note,
  replayed_as
FROM dead_letters
WHERE dead_letter_id < $1
  AND ($2::text IS NULL OR (replayed_at IS NULL) = ($2 = 'open'))
  AND ($3::text IS NULL OR queue = $3)
  AND ($4::text IS NULL OR reason = $4)
  AND ($5::text IS NULL OR tenant_id = $5)
  AND ($6::uuid IS NULL OR job_id = $6)
ORDER BY dead_letter_id DESC
LIMIT $7;
