-- The floor's whole book: one row for each job, with the columns a bill needs and the two indexes of such a table.
CREATE TABLE floor_ledger (
  id            bigserial PRIMARY KEY,
  job_id        uuid NOT NULL UNIQUE,
  job_at        timestamptz NOT NULL,
  recorded_at   timestamptz NOT NULL DEFAULT now(),
  finished_at   timestamptz NOT NULL,
  tenant_id     text NOT NULL,
  api_key_id    text NOT NULL,
  model         text NOT NULL,
  state         text NOT NULL,
  input_tokens  integer NOT NULL,
  output_tokens integer NOT NULL,
  amount        bigint NOT NULL,
  attempt       smallint NOT NULL,
  worker        text NOT NULL,
  digest        text NOT NULL
);
CREATE INDEX floor_ledger_tenant ON floor_ledger (tenant_id, job_at);
