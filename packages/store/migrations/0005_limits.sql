-- Limits beyond the plan, the history that explains them, other services as producers, the fence, and what was held.

-- n.b. AT TIME ZONE takes a name for an abbreviation first: CET, EET, BST and others are fixed offsets there, without summer
-- time, while programs, which cut quotas, know zones of these names. `posix/` and the like are zones that programs do not know.
CREATE VIEW v_time_zones AS
SELECT name
FROM pg_timezone_names
WHERE name = 'UTC'
  OR (
    upper(name) NOT IN (SELECT abbrev FROM pg_timezone_abbrevs)
    AND name !~ '^(posix/|right/|posixrules$|localtime$|Factory$)'
  );
COMMENT ON VIEW v_time_zones IS 'Names of time zones that a tenant may have.';

CREATE FUNCTION refuse_time_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM v_time_zones WHERE name = NEW.time_zone) THEN
    RAISE EXCEPTION '% is not a time zone that tenants may have: see v_time_zones', NEW.time_zone
      USING ERRCODE = 'check_violation', TABLE = 'tenants', COLUMN = 'time_zone';
  END IF;
  RETURN NULL;
END;
$$;
-- Tenants keep a zone that they have: v_recon_time_zone shows it. n.b. after the insert, because one that becomes an update
-- has gone through the triggers before an insert as well.
CREATE TRIGGER tenants_time_zone_created AFTER INSERT ON tenants FOR EACH ROW
  WHEN (NEW.time_zone <> 'UTC') EXECUTE FUNCTION refuse_time_zone();
CREATE TRIGGER tenants_time_zone_changed AFTER UPDATE OF time_zone ON tenants FOR EACH ROW
  WHEN (NEW.time_zone <> 'UTC' AND NEW.time_zone <> OLD.time_zone) EXECUTE FUNCTION refuse_time_zone();

CREATE VIEW v_recon_time_zone AS
SELECT tenant_id, time_zone
FROM tenants
WHERE time_zone NOT IN (SELECT name FROM v_time_zones);
COMMENT ON VIEW v_recon_time_zone IS
  'Tenants whose time zone means something else to programs, so that quotas and statements are cut differently. Zero rows when healthy.';
GRANT SELECT ON v_time_zones, v_recon_time_zone TO reporter;

-- What a tenant or a key has otherwise than its plan, as the operator wrote it; read through contracts/config.ts.
ALTER TABLE tenants ADD COLUMN overrides jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(overrides) = 'object');
ALTER TABLE api_keys
  ADD COLUMN limits jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(limits) = 'object'),
  -- Since when they are so; what they were before is not kept. When the key was made they were made with it.
  ADD COLUMN limits_since timestamptz NOT NULL DEFAULT now();

CREATE FUNCTION note_key_limits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.limits_since := clock_timestamp();
  RETURN NEW;
END;
$$;
CREATE TRIGGER api_keys_limits_changed BEFORE UPDATE OF limits ON api_keys FOR EACH ROW
  WHEN (NEW.limits IS DISTINCT FROM OLD.limits) EXECUTE FUNCTION note_key_limits();

-- Which plans were in force when: the file config/plans.yaml as programs understood it, defaults filled in.
CREATE TABLE plan_versions (
  plan_version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  plan            text NOT NULL,
  -- [from, to); open-ended while the plan is in the file as it is.
  valid           tstzrange NOT NULL CHECK (NOT isempty(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
  definition      jsonb NOT NULL,
  EXCLUDE USING gist (plan WITH =, valid WITH &&)
);

-- History explains refusals and reports: a version can only be ended.
CREATE FUNCTION refuse_version_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND upper_inf(OLD.valid) AND lower(NEW.valid) = lower(OLD.valid)
    AND to_jsonb(NEW) - 'valid' = to_jsonb(OLD) - 'valid'
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION '% keeps what was in force: a version can only be ended', TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END;
$$;
CREATE TRIGGER plan_versions_guard BEFORE UPDATE OR DELETE ON plan_versions
  FOR EACH ROW EXECUTE FUNCTION refuse_version_change();

-- Plan, zone and overrides of each tenant over time, written by a trigger on tenants.
CREATE TABLE tenant_versions (
  tenant_version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id         text NOT NULL,
  valid             tstzrange NOT NULL CHECK (NOT isempty(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
  plan              text NOT NULL,
  time_zone         text NOT NULL,
  overrides         jsonb NOT NULL,
  EXCLUDE USING gist (tenant_id WITH =, valid WITH &&)
);
CREATE TRIGGER tenant_versions_guard BEFORE UPDATE OR DELETE ON tenant_versions
  FOR EACH ROW EXECUTE FUNCTION refuse_version_change();

-- The row lock on the tenant makes changes of one tenant take turns. n.b. not now(): a transaction that began earlier may
-- change the tenant later; and versions never begin at the same microsecond, whatever the clock does.
CREATE FUNCTION note_tenant_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  began timestamptz := (SELECT lower(valid) FROM tenant_versions WHERE tenant_id = NEW.tenant_id AND upper_inf(valid));
  at    timestamptz := greatest(clock_timestamp(), began + interval '1 microsecond');
BEGIN
  UPDATE tenant_versions SET valid = tstzrange(began, at) WHERE tenant_id = NEW.tenant_id AND upper_inf(valid);
  INSERT INTO tenant_versions (tenant_id, valid, plan, time_zone, overrides)
  VALUES (NEW.tenant_id, tstzrange(at, NULL), NEW.plan, NEW.time_zone, NEW.overrides);
  RETURN NULL;
END;
$$;
CREATE TRIGGER tenants_created AFTER INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION note_tenant_version();
CREATE TRIGGER tenants_changed AFTER UPDATE ON tenants FOR EACH ROW
  WHEN ((NEW.plan, NEW.time_zone, NEW.overrides) IS DISTINCT FROM (OLD.plan, OLD.time_zone, OLD.overrides))
  EXECUTE FUNCTION note_tenant_version();

-- What came before is not known: as far as history tells, they always were as they are now.
INSERT INTO tenant_versions (tenant_id, valid, plan, time_zone, overrides)
SELECT tenant_id, tstzrange(created_at, NULL), plan, time_zone, overrides FROM tenants;

-- Users of the broker that may submit for a tenant. Their jobs are billed to a key of their own that nobody can present.
CREATE TABLE producers (
  user_id    text PRIMARY KEY CHECK (length(user_id) BETWEEN 1 AND 255),
  tenant_id  text NOT NULL REFERENCES tenants,
  api_key_id uuid NOT NULL UNIQUE REFERENCES api_keys,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX producers_tenant ON producers (tenant_id);

-- Lets a user submit for a tenant and returns the API key its jobs are attributed to: the one it has, or a new one when
-- it had none, had it for another tenant, or that one was revoked. Null when the tenant does not exist.
CREATE FUNCTION upsert_producer(new_user_id text, new_tenant_id text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  old_key uuid;
  new_key uuid;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('sluice.producer'), hashtext(new_user_id));
  SELECT p.api_key_id, k.api_key_id INTO old_key, new_key
  FROM producers p
  LEFT JOIN api_keys k ON k.api_key_id = p.api_key_id AND k.tenant_id = new_tenant_id AND k.revoked_at IS NULL
  WHERE p.user_id = new_user_id;
  IF new_key IS NOT NULL THEN
    RETURN new_key;
  END IF;
  INSERT INTO api_keys (tenant_id, key_hash, prefix, name)
  -- A hash of 244 random bits that are kept nowhere: no secret leads to it.
  SELECT tenant_id, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), '', 'producer ' || new_user_id
  FROM tenants
  WHERE tenant_id = new_tenant_id
  RETURNING api_key_id INTO new_key;
  IF new_key IS NULL THEN
    RETURN NULL;
  END IF;
  INSERT INTO producers (user_id, tenant_id, api_key_id) VALUES (new_user_id, new_tenant_id, new_key)
  ON CONFLICT (user_id) DO UPDATE SET tenant_id = excluded.tenant_id, api_key_id = excluded.api_key_id;
  UPDATE api_keys SET revoked_at = now() WHERE api_key_id = old_key AND revoked_at IS NULL;
  RETURN new_key;
END;
$$;

-- Every gateway that may reserve and every collector that may consume facts; see docs/decisions/0007-fence.md.
CREATE TABLE fence_members (
  member_id     uuid PRIMARY KEY,
  role          text NOT NULL CHECK (role IN ('gateway', 'collector')),
  queue         text NOT NULL,
  registered_at timestamptz NOT NULL DEFAULT now(),
  seen_at       timestamptz NOT NULL DEFAULT now()
);

-- n.b. new columns come last, with constant defaults: no row is rewritten, in however many partitions. Partitions that are
-- made later are made LIKE their parent, and indexes of the parent come to them when they are attached.
ALTER TABLE jobs
  ADD COLUMN reserved_nano_usd bigint NOT NULL DEFAULT 0,
  -- The dead job that this one runs again, and how often that was done.
  ADD COLUMN replay_of uuid,
  ADD COLUMN epoch smallint NOT NULL DEFAULT 0,
  ADD COLUMN idempotency_key_hash text,
  ADD COLUMN fingerprint text;

-- What was held for the job as far as the entry's message says (0 when it does not), and what was used beyond it.
ALTER TABLE ledger
  ADD COLUMN reserved_tokens integer NOT NULL DEFAULT 0,
  ADD COLUMN overage_tokens integer NOT NULL DEFAULT 0,
  ADD COLUMN overage_nano_usd bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_15m
  ADD COLUMN reserved_tokens bigint NOT NULL DEFAULT 0,
  ADD COLUMN overage_tokens bigint NOT NULL DEFAULT 0,
  ADD COLUMN overage_nano_usd bigint NOT NULL DEFAULT 0;
