-- Monthly partitions of jobs, ledger and job_results, UTC months of job_at, named like ledger_2026_11.

-- Makes one partition unless it exists. Rows of that month which went to the default partition move along.
CREATE PROCEDURE ensure_partition(parent text, month timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  month_start   timestamptz := date_trunc('month', month, 'UTC');
  -- n.b. adding a month must happen in UTC wall time, whatever the session's time zone.
  month_end     timestamptz := (month_start AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
  partition     text := format('%s_%s', parent, to_char(month_start AT TIME ZONE 'UTC', 'YYYY_MM'));
  default_table text := format('%s_default', parent);
  strays        boolean;
BEGIN
  -- Attaching waits for readers of the default partition; what queues up behind it must not wait long.
  PERFORM set_config('lock_timeout', '5s', true);
  PERFORM pg_advisory_xact_lock(hashtext('sluice.ensure_partition'));
  IF to_regclass(partition) IS NOT NULL THEN
    RETURN;
  END IF;
  EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', default_table);
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', partition, parent);
  EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE job_at >= %L AND job_at < %L)', default_table, month_start, month_end)
    INTO strays;
  IF strays THEN
    EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', default_table);
    EXECUTE format(
      'WITH moved AS (DELETE FROM %I WHERE job_at >= %L AND job_at < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
      default_table, month_start, month_end, partition);
    EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', default_table);
  END IF;
  -- ATTACH rather than PARTITION OF: it does not lock writers out of the parent.
  EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, partition, month_start, month_end);
  IF parent = 'ledger' THEN
    EXECUTE format(
      'CREATE TRIGGER ledger_not_emptied BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
      partition);
  END IF;
END;
$$;

-- Makes what is missing from last month to three months ahead. Commits after each, to hold no lock for long, so it
-- must be called outside a transaction.
CREATE PROCEDURE ensure_partitions() LANGUAGE plpgsql AS $$
DECLARE
  this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
  parent     text;
  ahead      integer;
BEGIN
  FOREACH parent IN ARRAY ARRAY['jobs', 'ledger', 'job_results'] LOOP
    FOR ahead IN -1 .. 3 LOOP
      CALL ensure_partition(parent, (this_month + ahead * interval '1 month') AT TIME ZONE 'UTC');
      COMMIT;
    END LOOP;
  END LOOP;
END;
$$;

REVOKE EXECUTE ON PROCEDURE ensure_partition(text, timestamptz), ensure_partitions() FROM PUBLIC;
