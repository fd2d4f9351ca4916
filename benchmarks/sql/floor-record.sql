-- Records a batch of finished jobs in one statement; a job that is there already is left as it is.
--
-- $1 job_id uuid[]       $2 job_at timestamptz[]   $3 finished_at timestamptz[]  $4 tenant_id text[]
-- $5 model text[]        $6 input_tokens int[]     $7 digest text[]
INSERT INTO floor_ledger (job_id, job_at, finished_at, tenant_id, model, input_tokens, digest,
                          api_key_id, state, output_tokens, amount, attempt, worker)
SELECT *, 'key', 'succeeded', 0, 1250, 1, 'worker-1'
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[], $6::int[], $7::text[])
ON CONFLICT (job_id) DO NOTHING
