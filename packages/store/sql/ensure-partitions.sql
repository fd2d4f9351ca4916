-- Makes the partitions of last month to three months ahead that are missing. Must run outside a transaction.
CALL ensure_partitions();
