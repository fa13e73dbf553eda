-- The roles of the database, and the database: run once, by a superuser, with psql. The official image of PostgreSQL
-- does that when it finds this file in /docker-entrypoint-initdb.d.
--
-- flows_owner makes and changes the tables (`flows db upgrade`), flows_recorder writes rows, flows_api reads. What they
-- may do with the tables is granted by `flows db upgrade --grant-read flows_api --grant-write flows_recorder`.
-- Each password is in a file of its own, in the folder SECRETS (/run/secrets).
\set owner `cat "${SECRETS:-/run/secrets}/database-owner"`
\set recorder `cat "${SECRETS:-/run/secrets}/database-recorder"`
\set api `cat "${SECRETS:-/run/secrets}/database-api"`
CREATE ROLE flows_owner LOGIN PASSWORD :'owner';
CREATE ROLE flows_recorder LOGIN PASSWORD :'recorder';
CREATE ROLE flows_api LOGIN PASSWORD :'api';
CREATE DATABASE flows OWNER flows_owner;
REVOKE ALL ON DATABASE flows FROM PUBLIC;
GRANT CONNECT ON DATABASE flows TO flows_recorder, flows_api;
