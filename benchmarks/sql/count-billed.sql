-- $1 since (Unix ms): how many jobs accepted from then on are billed.
SELECT count(*)::integer AS billed FROM billed WHERE job_at >= to_timestamp($1::float8 / 1000)
