-- The next rows of the export that is open.
--   $1 int about how many bytes
-- Returns one row: row_count int, 0 at the end; lines text, a JSON object and a line feed for each row.
SELECT row_count, lines FROM fetch_partition_export($1);
