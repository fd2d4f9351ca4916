-- Notes a migration as applied.
--   $1 text file name, $2 text SHA-256 of the file, hex
INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2);
