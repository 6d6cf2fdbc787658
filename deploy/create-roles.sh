#!/bin/sh
# Run once by the image of PostgreSQL, on an empty volume: the roles come before the tables.
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set=password="$WEB_PASSWORD" <<'SQL'
CREATE ROLE commonweal_app;
CREATE ROLE commonweal_web LOGIN PASSWORD :'password' IN ROLE commonweal_app;
SQL
