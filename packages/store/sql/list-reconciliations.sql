-- The views of reconciliation, by name, with their descriptions.
SELECT relname::text AS name, coalesce(obj_description(oid, 'pg_class'), '') AS description
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' AND relname LIKE 'v\_recon\_%'
ORDER BY 1;
