-- What the benchmark reads of the floor: when each job was accepted and when its row was committed.
-- n.b. without track_commit_timestamp only the start of the recording transaction is known.
CREATE VIEW billed AS
SELECT job_at,
       CASE WHEN current_setting('track_commit_timestamp')::boolean
            THEN pg_xact_commit_timestamp(xmin) ELSE recorded_at END AS billed_at
FROM floor_ledger
