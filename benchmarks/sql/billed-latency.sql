-- $1 since (Unix ms): acceptance to commit of the jobs accepted from then on (ms), and the last commit (Unix ms).
WITH latencies AS (
  SELECT billed_at, extract(epoch FROM billed_at - job_at) * 1000 AS ms
  FROM billed
  WHERE job_at >= to_timestamp($1::float8 / 1000)
)
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ms)::float8 AS p50,
       percentile_disc(0.9) WITHIN GROUP (ORDER BY ms)::float8 AS p90,
       percentile_disc(0.99) WITHIN GROUP (ORDER BY ms)::float8 AS p99,
       (extract(epoch FROM max(billed_at)) * 1000)::float8 AS last_ms
FROM latencies
