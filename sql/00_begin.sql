/*
 * pg_aggjobs: the extension script, part 1 of the numbered parts that make
 * joins in name order.
 *
 * The schema is created bare: if somebody planted a schema of this name, the
 * install fails instead of adopting what is in it.
 */
\echo Use "CREATE EXTENSION pg_aggjobs" to load this file. \quit

CREATE SCHEMA aggjobs;
COMMENT ON SCHEMA aggjobs IS 'tables and views of pg_aggjobs; change them only through the aggjobs_* functions';
