-- Who uses the suite and what it costs. All times are timestamptz; money is bigint nano-USD (1e-9 US dollars).

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE tenants (
  tenant_id  text PRIMARY KEY CHECK (length(tenant_id) BETWEEN 1 AND 63),
  plan       text NOT NULL,
  -- IANA name. The check makes PostgreSQL itself prove that it knows the zone, since reports are cut by it.
  time_zone  text NOT NULL CHECK (timestamptz 'epoch' AT TIME ZONE time_zone IS NOT NULL),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
  api_key_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id  text NOT NULL REFERENCES tenants,
  -- A keyed hash of the secret; the secret itself is never stored.
  key_hash   bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
  -- The first characters of the secret, so that people can tell keys apart.
  prefix     text NOT NULL,
  name       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id);

CREATE TABLE price_versions (
  price_id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  model                text NOT NULL,
  meter                text NOT NULL CHECK (meter IN ('input', 'output', 'cached', 'request')),
  -- When the price is in force, [from, to); open-ended for the newest.
  valid                tstzrange NOT NULL CHECK (NOT isempty(valid) AND lower_inc(valid) AND NOT upper_inc(valid)),
  nano_usd_per_million bigint NOT NULL CHECK (nano_usd_per_million >= 0),
  created_at           timestamptz NOT NULL DEFAULT now(),
  EXCLUDE USING gist (model WITH =, meter WITH =, valid WITH &&)
);

-- A price that has been in force may have billed something: it can only be ended, and not in the past.
CREATE FUNCTION refuse_price_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF lower(OLD.valid) > now() THEN
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
  END IF;
  IF TG_OP = 'UPDATE'
    AND (NEW.price_id, NEW.model, NEW.meter, NEW.nano_usd_per_million, lower(NEW.valid))
      = (OLD.price_id, OLD.model, OLD.meter, OLD.nano_usd_per_million, lower(OLD.valid))
    AND coalesce(upper(OLD.valid), 'infinity') >= now()
    AND coalesce(upper(NEW.valid), 'infinity') >= now()
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'price % of % for % has been in force and cannot be changed', OLD.price_id, OLD.model, OLD.meter
    USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE TRIGGER price_versions_guard BEFORE UPDATE OR DELETE ON price_versions
  FOR EACH ROW EXECUTE FUNCTION refuse_price_change();
