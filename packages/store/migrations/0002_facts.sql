-- What happened: jobs, the ledger, results and the roll-up. Rows of jobs, ledger and job_results are only ever inserted.

CREATE TYPE job_class AS ENUM ('interactive', 'standard', 'batch');
CREATE TYPE terminal_state AS ENUM ('succeeded', 'failed', 'canceled', 'expired');

-- The acceptance time inside a UUIDv7 (RFC 9562 §5.7), exact to the millisecond until the year 2106: to_timestamp rounds
-- to whole microseconds, which undoes the error of the division as long as seconds fit in 32 bits. One expression, so
-- that the planner inlines it.
CREATE FUNCTION uuid7_time(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_timestamp(('x' || left(id::text, 8) || substr(id::text, 10, 4))::bit(48)::bigint / 1000.0::float8);

-- The 15-minute UTC bucket of a time. Every time zone in use is offset from UTC by a multiple of 15 minutes.
CREATE FUNCTION usage_bucket(at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin('15 minutes', at, to_timestamp(0));

-- How long after its deadline an open job is left alone, for results still on their way. It must exceed the longest
-- transaction: the sweep's low-water mark relies on that (see hold_sweep).
CREATE FUNCTION hold_grace() RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN interval '2 minutes';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% only ever grows: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END;
$$;

-- One row for each accepted job. The input is never stored here.
CREATE TABLE jobs (
  job_id            uuid NOT NULL,
  job_at            timestamptz NOT NULL,
  tenant_id         text NOT NULL,
  api_key_id        uuid NOT NULL,
  model             text NOT NULL,
  class             job_class NOT NULL,
  input_tokens      integer NOT NULL CHECK (input_tokens >= 0),
  max_output_tokens integer NOT NULL CHECK (max_output_tokens >= 0),
  reserved_tokens   integer NOT NULL CHECK (reserved_tokens >= 0),
  expires_at        timestamptz NOT NULL,
  recorded_at       timestamptz NOT NULL DEFAULT now(),
  metadata          jsonb,
  PRIMARY KEY (job_id, job_at),
  CONSTRAINT jobs_job_at_is_of_job_id CHECK (job_at = uuid7_time(job_id))
) PARTITION BY RANGE (job_at);
CREATE INDEX jobs_expiry ON jobs (expires_at);
CREATE INDEX jobs_tenant_expiry ON jobs (tenant_id, expires_at);

-- The truth. Phase 1 is the reserve, 2 the terminal entry, 3 and above are corrections (signed). The key holds job_at
-- because partitioning demands it; the check makes job_at a function of job_id, so the key is still one entry for
-- each job and phase.
CREATE TABLE ledger (
  job_id           uuid NOT NULL,
  job_at           timestamptz NOT NULL,
  api_key_id       uuid NOT NULL,
  recorded_at      timestamptz NOT NULL DEFAULT now(),
  amount_nano_usd  bigint NOT NULL DEFAULT 0,
  input_price_id   bigint,
  output_price_id  bigint,
  cached_price_id  bigint,
  request_price_id bigint,
  -- Of a reserve: the input and the cap of the output. Of a terminal entry: what was used.
  input_tokens     integer NOT NULL,
  output_tokens    integer NOT NULL,
  cached_tokens    integer NOT NULL DEFAULT 0,
  state            terminal_state,
  phase            smallint NOT NULL CHECK (phase >= 1),
  tenant_id        text NOT NULL,
  model            text NOT NULL,
  PRIMARY KEY (job_id, phase, job_at),
  CONSTRAINT ledger_job_at_is_of_job_id CHECK (job_at = uuid7_time(job_id)),
  CONSTRAINT ledger_terminal_has_state CHECK ((phase = 2) = (state IS NOT NULL)),
  CONSTRAINT ledger_counts CHECK (
    phase > 2 OR (input_tokens >= 0 AND output_tokens >= 0 AND cached_tokens BETWEEN 0 AND input_tokens)
  )
) PARTITION BY RANGE (job_at);
-- Rows arrive nearly in the order of job_at, which makes this index tiny and cheap.
CREATE INDEX ledger_job_at ON ledger USING brin (job_at) WITH (autosummarize = on);

CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_not_emptied BEFORE TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What a job produced, kept apart because it is large and need not live as long as the ledger.
CREATE TABLE job_results (
  job_id        uuid NOT NULL,
  job_at        timestamptz NOT NULL,
  recorded_at   timestamptz NOT NULL DEFAULT now(),
  started_at    timestamptz,
  finished_at   timestamptz NOT NULL,
  attempt       integer NOT NULL,
  model_version text,
  error         jsonb,
  output        jsonb,
  PRIMARY KEY (job_id, job_at),
  CONSTRAINT job_results_job_at_is_of_job_id CHECK (job_at = uuid7_time(job_id))
) PARTITION BY RANGE (job_at);
-- Embeddings do not compress; trying costs more than the insert.
ALTER TABLE job_results ALTER COLUMN output SET STORAGE EXTERNAL;

CREATE TABLE jobs_default PARTITION OF jobs DEFAULT;
CREATE TABLE ledger_default PARTITION OF ledger DEFAULT;
CREATE TABLE job_results_default PARTITION OF job_results DEFAULT;
CREATE TRIGGER ledger_not_emptied BEFORE TRUNCATE ON ledger_default
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Sums of the ledger's phases 2 and above by 15 minutes of job_at (UTC).
CREATE TABLE usage_15m (
  tenant_id       text NOT NULL,
  bucket          timestamptz NOT NULL CHECK (bucket = usage_bucket(bucket)),
  model           text NOT NULL,
  api_key_id      uuid NOT NULL,
  jobs            bigint NOT NULL,
  failed_jobs     bigint NOT NULL,
  input_tokens    bigint NOT NULL,
  output_tokens   bigint NOT NULL,
  cached_tokens   bigint NOT NULL,
  amount_nano_usd bigint NOT NULL,
  PRIMARY KEY (tenant_id, bucket, model, api_key_id)
) WITH (fillfactor = 70);

-- Every job with expires_at before this mark has a terminal entry or is listed in overdue_jobs. The sweep moves it
-- forward, so that looking for open jobs never starts at the beginning of history.
CREATE TABLE hold_sweep (
  only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  swept_until timestamptz NOT NULL
);
INSERT INTO hold_sweep (swept_until) VALUES ('-infinity');

-- Jobs behind the mark that were open when it passed, or whose accepted fact was recorded only after their deadline
-- (the queue was held up). The sweep removes those that have ended.
CREATE TABLE overdue_jobs (
  job_id     uuid PRIMARY KEY,
  job_at     timestamptz NOT NULL,
  tenant_id  text NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX overdue_jobs_tenant ON overdue_jobs (tenant_id);

-- Messages that could not be processed, as they arrived.
CREATE TABLE dead_letters (
  dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  recorded_at    timestamptz NOT NULL DEFAULT now(),
  queue          text NOT NULL,
  reason         text NOT NULL,
  attempts       integer NOT NULL,
  type           text NOT NULL,
  message_id     text NOT NULL,
  job_id         uuid,
  headers        jsonb NOT NULL,
  -- Possibly only the beginning; payload_bytes is the full length.
  payload        bytea NOT NULL,
  payload_bytes  integer NOT NULL
);
-- A message that is delivered again before it was acknowledged is the same dead letter. Its id may be empty, so the
-- payload belongs to the key.
CREATE UNIQUE INDEX dead_letters_once ON dead_letters (queue, message_id, attempts, sha256(payload));
CREATE INDEX dead_letters_job ON dead_letters (job_id) WHERE job_id IS NOT NULL;
