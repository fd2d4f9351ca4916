-- Opens the cursor of an export; in a transaction.
--   $1 text name of the partition
SELECT open_partition_export($1);
