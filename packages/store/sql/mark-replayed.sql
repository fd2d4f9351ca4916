-- Marks a dead letter as replayed unless it is already; of several at once one wins.
--   $1 bigint dead letter id, $2 text note, $3 uuid job that runs it again, or null
-- Returns a row when it was open until now.
UPDATE dead_letters
SET replayed_at = now(), replay_note = $2, replayed_as = $3
WHERE dead_letter_id = $1 AND replayed_at IS NULL
RETURNING dead_letter_id;
