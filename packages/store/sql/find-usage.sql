-- A tenant's usage in groups, from the 15-minute roll-up.
--   $1 text tenant id, $2 and $3 bigint from (inclusive) and to (exclusive), Unix ms, compared with starts of buckets,
--   $4 text hour | day | month | model | apiKey, $5 text IANA time zone in which hours, days and months begin
-- The group of an hour is the UTC instant at which the local hour begins: local hours repeat when clocks go back.
SELECT
  CASE $4::text
    WHEN 'hour' THEN to_char(date_trunc('hour', bucket, $5::text) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    WHEN 'day' THEN to_char(bucket AT TIME ZONE $5::text, 'YYYY-MM-DD')
    WHEN 'month' THEN to_char(bucket AT TIME ZONE $5::text, 'YYYY-MM')
    WHEN 'model' THEN model
    WHEN 'apiKey' THEN api_key_id::text
  END AS "group",
  sum(jobs)::bigint AS jobs,
  sum(failed_jobs)::bigint AS failed_jobs,
  sum(input_tokens)::bigint AS input_tokens,
  sum(output_tokens)::bigint AS output_tokens,
  sum(cached_tokens)::bigint AS cached_tokens,
  sum(amount_nano_usd)::bigint AS amount_nano_usd
FROM usage_15m
WHERE tenant_id = $1
  AND bucket >= to_timestamp($2::bigint / 1000.0::float8)
  AND bucket < to_timestamp($3::bigint / 1000.0::float8)
GROUP BY 1
ORDER BY 1;
