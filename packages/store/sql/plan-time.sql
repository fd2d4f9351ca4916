-- From when on a change of plans applies, as text to the microsecond: now, and after every version that has begun. Run under
-- the lock. n.b. not now(), which is when the transaction began, before it waited for the lock.
SELECT greatest(clock_timestamp(), max(lower(valid)) + interval '1 microsecond')::text AS at FROM plan_versions;
