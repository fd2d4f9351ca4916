-- Takes a replay back that did not come about.
--   $1 bigint dead letter id, $2 uuid the job that it was marked with, or null
-- Returns a row when it was marked so.
UPDATE dead_letters
SET replayed_at = NULL, replay_note = NULL, replayed_as = NULL
WHERE dead_letter_id = $1 AND replayed_at IS NOT NULL AND replayed_as IS NOT DISTINCT FROM $2
RETURNING dead_letter_id;
