-- Inserts a batch of facts in one statement; nothing is looked up, summed or settled.
--
-- $1 job_id uuid[]     $2 phase smallint[]   $3 job_at bigint[] (Unix ms)  $4 tenant_id text[]  $5 api_key_id uuid[]
-- $6 model text[]      $7 state text[]       $8 input_tokens int[]
INSERT INTO bare_facts (job_id, phase, job_at, tenant_id, api_key_id, model, state, input_tokens,
                        output_tokens, cached_tokens, amount_nano_usd)
SELECT job_id, phase, to_timestamp(job_at / 1000.0::float8), tenant_id, api_key_id, model, state, input_tokens, 0, 0, 1250
FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::int[])
  AS f (job_id, phase, job_at, tenant_id, api_key_id, model, state, input_tokens)
