-- Puts plans of the configuration in force that are not; returns a row for each.
--   $1 jsonb object of plans by name, $2 timestamptz when
INSERT INTO plan_versions (plan, valid, definition)
SELECT name, tstzrange($2, NULL), definition
FROM jsonb_each($1::jsonb) AS configured (name, definition)
WHERE NOT EXISTS (SELECT FROM plan_versions v WHERE v.plan = name AND upper_inf(v.valid))
RETURNING plan;
