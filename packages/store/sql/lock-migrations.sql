-- Lets one session at a time migrate this database; released when the session ends.
SELECT pg_advisory_lock(hashtext('sluice.migrate'));
