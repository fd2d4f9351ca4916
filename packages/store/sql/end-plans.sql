-- Ends plans in force that are gone from the configuration or differ from it; returns a row for each.
--   $1 jsonb object of plans by name, $2 timestamptz when
UPDATE plan_versions
SET valid = tstzrange(lower(valid), $2)
WHERE upper_inf(valid) AND definition IS DISTINCT FROM $1::jsonb -> plan
RETURNING plan;
