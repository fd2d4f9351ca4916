-- Drops a partition unless that would lose something.
--   $1 text its name, $2 bigint how many rows it must have, or null, $3 text SHA-256 of its export in hex, or null
-- Returns one row: rows bigint, how many it had.
SELECT drop_partition($1, $2, $3) AS rows;
