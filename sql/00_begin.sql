/*
 * pg_aggjobs: the extension script, part 1 of the numbered parts that make
 * joins in name order.
 *
 * The schema is created bare: if somebody planted a schema of this name, the
 * install fails instead of adopting what is in it.
 */
\echo Use "CREATE EXTENSION pg_aggjobs" to load this file. \quit

/*
 * Nothing but the server's own functions and operators is found by a bare
 * name from here on: whoever may create objects in the extension's schema
 * could else plant an operator that fits our arguments better than the
 * server's, and have it run by a superuser, now or whenever a view is read.
 */
SET LOCAL search_path TO pg_catalog, pg_temp;

CREATE SCHEMA aggjobs;
COMMENT ON SCHEMA aggjobs IS 'tables and views of pg_aggjobs; change them only through the aggjobs_* functions';
