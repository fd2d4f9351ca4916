-- One dead letter with headers and payload.
--   $1 bigint dead letter id
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
  replayed_as,
  headers,
  payload
FROM dead_letters
WHERE dead_letter_id = $1;
