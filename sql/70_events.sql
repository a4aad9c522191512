/*
 * Event triggers: after DDL that may concern a source of rollups, its capture
 * is looked at.  They come after everything that this script makes itself.
 */

CREATE FUNCTION aggjobs.on_ddl() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_on_ddl';
COMMENT ON FUNCTION aggjobs.on_ddl() IS
	'after DDL: is the capture of every source of rollups still whole, and every rollup still there?';

CREATE FUNCTION aggjobs.on_rewrite() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_on_rewrite';
COMMENT ON FUNCTION aggjobs.on_rewrite() IS
	'before a table is rewritten: notes that all of it may change';

CREATE EVENT TRIGGER aggjobs_after_ddl ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE SCHEMA', 'ALTER INDEX', 'ALTER TRIGGER',
	             'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE')
	EXECUTE FUNCTION aggjobs.on_ddl();
ALTER EVENT TRIGGER aggjobs_after_ddl ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER aggjobs_after_ddl IS 'watches over the capture of the sources of rollups';

/* Whatever is dropped, by whichever statement: CASCADE comes by way of types, functions, extensions, ... */
CREATE EVENT TRIGGER aggjobs_after_drop ON sql_drop
	EXECUTE FUNCTION aggjobs.on_ddl();
ALTER EVENT TRIGGER aggjobs_after_drop ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER aggjobs_after_drop IS 'watches over what the sources of rollups lose, and over rollups that are dropped';

CREATE FUNCTION aggjobs.on_detach() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_on_detach';
COMMENT ON FUNCTION aggjobs.on_detach() IS
	'before ALTER TABLE: notes the range of a partition that is detached concurrently';

CREATE EVENT TRIGGER aggjobs_before_detach ON ddl_command_start
	WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION aggjobs.on_detach();
ALTER EVENT TRIGGER aggjobs_before_detach ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER aggjobs_before_detach IS 'watches over partitions that are detached concurrently';

CREATE EVENT TRIGGER aggjobs_before_rewrite ON table_rewrite
	EXECUTE FUNCTION aggjobs.on_rewrite();
ALTER EVENT TRIGGER aggjobs_before_rewrite ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER aggjobs_before_rewrite IS 'watches over tables that are rewritten';

CREATE FUNCTION aggjobs.on_rename() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_on_rename';
COMMENT ON FUNCTION aggjobs.on_rename() IS
	'after a column of a table of rollups, of a live view or of a source was renamed: the others follow';

CREATE EVENT TRIGGER aggjobs_after_rename ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER VIEW', 'ALTER FOREIGN TABLE')
	EXECUTE FUNCTION aggjobs.on_rename();
ALTER EVENT TRIGGER aggjobs_after_rename ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER aggjobs_after_rename IS 'lets rollups follow columns that are renamed';
