/*
 * Who may do what.  Nothing is granted to PUBLIC.  Members of pg_monitor read
 * the views; aggjobs_grant() lets a role have jobs of its own.
 */

CREATE FUNCTION @extschema@.aggjobs_grant(role name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
	item text;
BEGIN
	FOR item IN SELECT 'EXECUTE ON ROUTINE ' || p.oid::regprocedure
	            FROM pg_proc p
	                 JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	                 JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	            WHERE e.extname = 'pg_aggjobs' AND d.deptype = 'e'
	              AND (p.proname IN ('worker_slots', 'scheduler_state', 'version')
	                   OR p.proname LIKE 'aggjobs\_%'
	                      AND p.proname NOT IN ('aggjobs_grant', 'aggjobs_revoke', 'aggjobs_set', 'aggjobs_set_queue', 'aggjobs_drop_queue',
	                                             'aggjobs_drop_pipeline'))
	            UNION ALL
	            SELECT 'SELECT ON TABLE ' || c.oid::regclass
	            FROM pg_class c
	            WHERE c.relnamespace = 'aggjobs'::regnamespace AND c.relkind = 'v'
	              AND c.relname IN ('jobs', 'runs', 'run_logs', 'workers', 'queues', 'job_stats', 'settings', 'rollups', 'health',
	                                'backfills', 'backfill_workers', 'chunks')
	            UNION ALL
	            SELECT 'USAGE ON SCHEMA aggjobs'
	            UNION ALL
	            SELECT 'USAGE ON SCHEMA ' || e.extnamespace::regnamespace
	            FROM pg_extension e
	            WHERE e.extname = 'pg_aggjobs' AND NOT has_schema_privilege(role, e.extnamespace, 'USAGE')
	LOOP
		EXECUTE format('GRANT %s TO %I', item, role);
	END LOOP;
END;
$function$;
COMMENT ON FUNCTION @extschema@.aggjobs_grant(name) IS
	'let a role have jobs of its own: make, run, change and watch them; to be called by the owner of the extension';

CREATE FUNCTION @extschema@.aggjobs_revoke(role name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
	item text;
BEGIN
	FOR item IN SELECT 'EXECUTE ON ROUTINE ' || p.oid::regprocedure
	            FROM pg_proc p
	                 JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	                 JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	            WHERE e.extname = 'pg_aggjobs' AND d.deptype = 'e'
	            UNION ALL
	            SELECT 'SELECT ON TABLE ' || c.oid::regclass
	            FROM pg_class c
	            WHERE c.relnamespace = 'aggjobs'::regnamespace AND c.relkind = 'v'
	            UNION ALL
	            SELECT 'USAGE ON SCHEMA aggjobs'
	            UNION ALL
	            SELECT 'USAGE ON SCHEMA ' || e.extnamespace::regnamespace
	            FROM pg_extension e WHERE e.extname = 'pg_aggjobs'
	LOOP
		EXECUTE format('REVOKE %s FROM %I', item, role);
	END LOOP;
END;
$function$;
COMMENT ON FUNCTION @extschema@.aggjobs_revoke(name) IS
	'take back what aggjobs_grant() gave, USAGE on the extension''s schema included; jobs of the role stay and run';

DO $do$
DECLARE
	routine regprocedure;
BEGIN
	FOR routine IN SELECT p.oid
	               FROM pg_catalog.pg_proc p
	               WHERE p.pronamespace = 'aggjobs'::regnamespace
	                     AND p.proname IN ('installed', 'scheduler_state', 'version', 'worker_slots', 'on_ddl', 'on_detach', 'on_rewrite', 'on_rename',
	                                       'on_job_restored', 'on_jobs_restored', 'on_state_restored', 'index_handler')
	                  OR p.pronamespace = (SELECT e.extnamespace FROM pg_catalog.pg_extension e
	                                          WHERE e.extname = 'pg_aggjobs')
	                     AND p.proname LIKE 'aggjobs\_%' AND p.proname <> 'aggjobs_bucket'
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', routine);
	END LOOP;
END;
$do$;

GRANT USAGE ON SCHEMA aggjobs TO pg_monitor;
GRANT SELECT ON aggjobs.jobs, aggjobs.runs, aggjobs.run_logs, aggjobs.workers, aggjobs.queues, aggjobs.job_stats,
	aggjobs.settings, aggjobs.rollups, aggjobs.health, aggjobs.backfills, aggjobs.backfill_workers, aggjobs.chunks TO pg_monitor;
GRANT EXECUTE ON FUNCTION aggjobs.scheduler_state(), aggjobs.version(), aggjobs.worker_slots() TO pg_monitor;
GRANT EXECUTE ON FUNCTION @extschema@.aggjobs_status(text), @extschema@.aggjobs_history(text, integer),
	@extschema@.aggjobs_logs(bigint, integer, timestamptz),
	@extschema@.aggjobs_backfill_logs(bigint, integer, integer, timestamptz),
	@extschema@.aggjobs_preview_schedule(text, text, integer, timestamptz),
	@extschema@.aggjobs_explain_schedule(text, text) TO pg_monitor;

/*
 * What users made is dumped; what this script makes is not.  Runs are left
 * out: they belong to the server that ran them.
 */
SELECT pg_catalog.pg_extension_config_dump('aggjobs.setting', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.job', 'WHERE NOT builtin AND backfill_id IS NULL');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.job_job_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.job_state',
	'WHERE job_id IN (SELECT job_id FROM aggjobs.job WHERE NOT builtin AND backfill_id IS NULL)');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.job_after',
	'WHERE job_id IN (SELECT job_id FROM aggjobs.job WHERE NOT builtin)');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.queue', '');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.queue_queue_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.rollup', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.rollup_state', '');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.rollup_rollup_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.source',
	'WHERE source NOT IN (SELECT r.source FROM aggjobs.rollup r WHERE r.builtin)');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.source_part',
	'WHERE source NOT IN (SELECT r.source FROM aggjobs.rollup r WHERE r.builtin)');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.change', '');
SELECT pg_catalog.pg_extension_config_dump('aggjobs.stale', '');

SELECT aggjobs.installed();
