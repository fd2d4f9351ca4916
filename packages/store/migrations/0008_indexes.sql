-- Indexes of jobs and the ledger, apart from the files that change these tables: they take a while, about 3 s for a million
-- jobs, and only writers wait for them. Nothing here may lock readers out.

-- For lists of a tenant's jobs, newest first: ids are in the order of time.
CREATE INDEX jobs_tenant_job ON jobs (tenant_id, job_id);
CREATE INDEX jobs_idempotency ON jobs (tenant_id, idempotency_key_hash, job_id) WHERE idempotency_key_hash IS NOT NULL;
CREATE INDEX jobs_replay ON jobs (replay_of) WHERE replay_of IS NOT NULL;

-- For loading a tenant: what it used in the last minutes, whatever all others did. Reserve entries use nothing.
CREATE INDEX ledger_tenant_time ON ledger (tenant_id, job_at) WHERE phase >= 2;
-- For lists of jobs that did not succeed, among the many that did.
CREATE INDEX ledger_tenant_unsuccessful ON ledger (tenant_id, job_id) WHERE phase = 2 AND state <> 'succeeded';
