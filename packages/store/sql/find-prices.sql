-- Price versions that are or will be in force, and those that ended within the last day; times in Unix ms, to_ms is null
-- for a version without an end.
SELECT
  price_id,
  model,
  meter,
  nano_usd_per_million,
  extract(epoch FROM lower(valid)) * 1000 AS from_ms,
  extract(epoch FROM upper(valid)) * 1000 AS to_ms
FROM price_versions
WHERE upper_inf(valid) OR upper(valid) > now() - interval '1 day'
ORDER BY model, meter, lower(valid);
