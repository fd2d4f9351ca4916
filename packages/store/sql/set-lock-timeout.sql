-- Gives the statements of this transaction another time limit for waiting for a lock.
--   $1 text milliseconds
SELECT set_config('lock_timeout', $1, true);
