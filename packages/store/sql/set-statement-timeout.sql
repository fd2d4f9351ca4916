-- Gives the statements of this transaction another time limit.
--   $1 text milliseconds
SELECT set_config('statement_timeout', $1, true);
