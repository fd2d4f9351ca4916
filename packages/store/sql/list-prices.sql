-- Every price version; times in Unix ms, to_ms is null for a version without an end.
SELECT
  price_id,
  model,
  meter,
  nano_usd_per_million,
  extract(epoch FROM lower(valid)) * 1000 AS from_ms,
  extract(epoch FROM upper(valid)) * 1000 AS to_ms
FROM price_versions
ORDER BY model, meter, lower(valid);
