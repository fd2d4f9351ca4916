-- Removes old dead letters, oldest first, replayed or not.
--   $1 bigint recorded before this, Unix ms, $2 int how many at most
-- Returns one row: deleted int, and open int, how many of them had not been replayed.
WITH old AS (
  SELECT dead_letter_id
  FROM dead_letters
  WHERE recorded_at < to_timestamp($1::bigint / 1000.0::float8)
  ORDER BY recorded_at, dead_letter_id
  LIMIT $2
  FOR UPDATE SKIP LOCKED
),
gone AS (
  DELETE FROM dead_letters USING old WHERE dead_letters.dead_letter_id = old.dead_letter_id RETURNING replayed_at
)
SELECT count(*)::int AS deleted, count(*) FILTER (WHERE replayed_at IS NULL)::int AS open FROM gone;
