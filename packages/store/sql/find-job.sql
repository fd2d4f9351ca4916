-- One job with its terminal entry and result, if any. Reads one partition, as job_at follows from the id; and, by an index
-- that holds replays only, those from then on for the newest job that runs this one again.
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
  j.reserved_nano_usd,
  extract(epoch FROM j.expires_at) * 1000 AS expires_at_ms,
  j.metadata,
  j.replay_of,
  j.epoch,
  (
    SELECT newer.job_id
    FROM jobs newer
    WHERE newer.replay_of = $2 AND newer.tenant_id = $1 AND newer.job_at >= uuid7_time($2)
    ORDER BY newer.job_id DESC
    LIMIT 1
  ) AS replayed_as,
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
