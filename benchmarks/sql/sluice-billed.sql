-- What the benchmark reads of Sluice: when each job was accepted and when its terminal ledger entry was committed.
-- n.b. without track_commit_timestamp only the start of the recording transaction is known.
CREATE VIEW billed AS
SELECT job_at,
       CASE WHEN current_setting('track_commit_timestamp')::boolean
            THEN pg_xact_commit_timestamp(xmin) ELSE recorded_at END AS billed_at
FROM ledger
WHERE phase = 2
