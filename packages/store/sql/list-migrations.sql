-- Applied migrations with the SHA-256 (hex) of their text.
SELECT name, checksum FROM schema_migrations ORDER BY name;
