-- Partitions of one parent, oldest first, the default one last.
--   $1 text jobs | ledger | job_results
-- Times are Unix milliseconds, null for the default partition.
SELECT
  name,
  parent,
  extract(epoch FROM from_at) * 1000 AS from_ms,
  extract(epoch FROM to_at) * 1000 AS to_ms,
  estimated_rows,
  bytes
FROM v_partitions
WHERE parent = $1
ORDER BY from_at NULLS LAST;
