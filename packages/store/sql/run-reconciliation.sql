-- Runs one view of reconciliation.
--   $1 text its name, $2 int how many rows to return
-- Returns one row: row_count bigint; sample jsonb, the first rows as objects.
SELECT row_count, sample FROM run_reconciliation($1, $2);
