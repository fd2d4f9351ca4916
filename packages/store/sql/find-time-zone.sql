-- The time zone of a name in any case, as it is spelled; no row when a tenant cannot have it. Reads the zones' directory: 30 ms.
--   $1 text name
SELECT name FROM v_time_zones WHERE lower(name) = lower($1);
