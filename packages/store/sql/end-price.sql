-- Sets when a price ends (a trigger refuses a time in the past).
--   $1 bigint price id, $2 bigint end (Unix ms), exclusive; null for no end
UPDATE price_versions
SET valid = tstzrange(lower(valid), to_timestamp($2::bigint / 1000.0::float8))
WHERE price_id = $1;
