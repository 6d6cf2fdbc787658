-- What the library's SQL creates is in a schema of its own.

CREATE SCHEMA jobs;
SET LOCAL search_path TO jobs, pg_catalog;
