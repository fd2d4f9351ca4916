-- One row for each fact with the columns of a ledger entry and its key, nothing more.
CREATE TABLE bare_facts (
  job_id          uuid NOT NULL,
  phase           smallint NOT NULL,
  job_at          timestamptz NOT NULL,
  recorded_at     timestamptz NOT NULL DEFAULT now(),
  tenant_id       text NOT NULL,
  api_key_id      uuid NOT NULL,
  model           text NOT NULL,
  state           text,
  input_tokens    integer NOT NULL,
  output_tokens   integer NOT NULL,
  cached_tokens   integer NOT NULL,
  amount_nano_usd bigint NOT NULL,
  PRIMARY KEY (job_id, phase)
)
