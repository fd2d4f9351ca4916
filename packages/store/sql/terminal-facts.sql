-- What the ledger knows of some jobs. Jobs without any entry are absent.
--   $1 uuid[] job ids
-- state is null while a job is open.
SELECT ids.job_id, l.state, l.input_tokens, l.output_tokens, l.cached_tokens, l.amount_nano_usd
FROM unnest($1::uuid[]) AS ids (job_id)
CROSS JOIN LATERAL (
  SELECT state, input_tokens, output_tokens, cached_tokens, amount_nano_usd
  FROM ledger
  WHERE ledger.job_id = ids.job_id AND phase <= 2 AND job_at = uuid7_time(ids.job_id)
  ORDER BY phase DESC
  LIMIT 1
) AS l;
