-- Every price that was ever configured: when it is in force (from inclusive, to exclusive; null for ever), in Unix ms.
SELECT
  model,
  meter,
  extract(epoch FROM lower(valid))::float8 * 1000 AS "fromMs",
  extract(epoch FROM upper(valid))::float8 * 1000 AS "toMs",
  nano_usd_per_million::text AS "nanoUsdPerMillion"
FROM price_versions;
