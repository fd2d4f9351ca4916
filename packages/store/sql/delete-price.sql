-- Withdraws a price that is not yet in force (a trigger refuses any other).
--   $1 bigint price id
DELETE FROM price_versions WHERE price_id = $1;
