/*
 * What is done when a dump is restored: its rows come by COPY into tables that
 * CREATE EXTENSION has made, so triggers on these can tell.  ALWAYS, as a
 * restore may run with session_replication_role = replica.
 */

/*
 * The oid of the database does not tell enough: in another server it may be
 * the same.  A job that is made is made now; one that is older is restored.
 */
CREATE FUNCTION aggjobs.on_job_restored() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
	NEW.database_oid := 0;
	RETURN NEW;
END;
$function$;
COMMENT ON FUNCTION aggjobs.on_job_restored() IS 'a job from a dump belongs to no database until it is resumed';

CREATE TRIGGER aggjobs_job_restored BEFORE INSERT ON aggjobs.job
	FOR EACH ROW WHEN (NEW.created_at IS DISTINCT FROM now())
	EXECUTE FUNCTION aggjobs.on_job_restored();
ALTER TABLE aggjobs.job ENABLE ALWAYS TRIGGER aggjobs_job_restored;

CREATE FUNCTION aggjobs.on_jobs_restored() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
	waiting bigint;
BEGIN
	SELECT count(*) INTO waiting FROM added AS a WHERE a.enabled AND a.database_oid = 0;
	IF waiting > 0 THEN
		-- pg_dump lets psql hide notices.
		RAISE WARNING '% restored jobs of pg_aggjobs do not run by schedule yet', waiting
			USING HINT = 'Let all run with SELECT aggjobs_resume(NULL), or one with SELECT aggjobs_resume(''NAME''); they are in SELECT job_name FROM aggjobs.jobs WHERE state = ''copied''.';
	END IF;
	RETURN NULL;
END;
$function$;
COMMENT ON FUNCTION aggjobs.on_jobs_restored() IS 'says that restored jobs wait, and how to resume them';

CREATE TRIGGER aggjobs_jobs_restored AFTER INSERT ON aggjobs.job
	REFERENCING NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION aggjobs.on_jobs_restored();
ALTER TABLE aggjobs.job ENABLE ALWAYS TRIGGER aggjobs_jobs_restored;

/* The extension itself inserts a row without a horizon, and sets it then. */
CREATE FUNCTION aggjobs.on_state_restored() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'aggjobs_on_state_restored';
COMMENT ON FUNCTION aggjobs.on_state_restored() IS
	'a horizon that writers do not know of is being restored: all of the source counts as changed';

CREATE TRIGGER aggjobs_state_restored AFTER INSERT ON aggjobs.rollup_state
	FOR EACH ROW WHEN (NEW.horizon IS NOT NULL)
	EXECUTE FUNCTION aggjobs.on_state_restored();
ALTER TABLE aggjobs.rollup_state ENABLE ALWAYS TRIGGER aggjobs_state_restored;
