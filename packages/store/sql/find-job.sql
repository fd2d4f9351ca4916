-- One job with its terminal entry and result, if any. Reads one partition: job_at follows from the id.
--   $1 text tenant id, $2 uuid job id
-- Times are Unix milliseconds.
SELECT
  j.tenant_id,
  j.api_key_id,
  j.model,
  j.class,
  coalesce(l.state::text, 'queued') AS state,
  j.input_tokens,
  j.max_output_tokens,
  j.reserved_tokens,
  extract(epoch FROM j.expires_at) * 1000 AS expires_at_ms,
  j.metadata,
  l.input_tokens AS used_input_tokens,
  l.output_tokens AS used_output_tokens,
  l.cached_tokens AS used_cached_tokens,
  l.amount_nano_usd,
  r.model_version,
  r.output,
  r.error,
  r.attempt,
  extract(epoch FROM r.started_at) * 1000 AS started_at_ms,
  extract(epoch FROM r.finished_at) * 1000 AS finished_at_ms
FROM jobs j
LEFT JOIN ledger l ON l.job_id = $2 AND l.phase = 2 AND l.job_at = uuid7_time($2)
LEFT JOIN job_results r ON r.job_id = $2 AND r.job_at = uuid7_time($2)
WHERE j.job_id = $2 AND j.job_at = uuid7_time($2) AND j.tenant_id = $1;
