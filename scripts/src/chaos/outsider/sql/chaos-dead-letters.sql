-- What could not be processed.
SELECT dead_letter_id::int AS id, queue, reason, type, job_id::text AS "jobId", message_id AS "messageId"
FROM dead_letters
ORDER BY 1;
