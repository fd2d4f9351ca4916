-- Adds a price version (a constraint refuses one that overlaps another of its model and meter).
--   $1 text model, $2 text meter, $3 bigint nano-USD for a million units, $4 bigint from (Unix ms), inclusive,
--   $5 bigint to (Unix ms), exclusive, or null for no end
INSERT INTO price_versions (model, meter, nano_usd_per_million, valid)
VALUES ($1, $2, $3, tstzrange(to_timestamp($4::bigint / 1000.0::float8), to_timestamp($5::bigint / 1000.0::float8)));
