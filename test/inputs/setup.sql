-- What the cases need, and how one is judged.
CREATE EXTENSION pg_aggjobs;
CREATE ROLE inputs_owner LOGIN;
CREATE ROLE inputs_nobody LOGIN;
SELECT aggjobs_grant('inputs_owner') IS NULL AS done \gset
CREATE SCHEMA inputs;
GRANT ALL ON SCHEMA inputs TO PUBLIC;

CREATE TABLE inputs.t (a int, t timestamptz);
CREATE TABLE inputs.work (n bigint GENERATED ALWAYS AS IDENTITY);
SELECT aggjobs_schedule('good', NULL, 'INSERT INTO inputs.work DEFAULT VALUES') IS NULL AS done \gset
SELECT aggjobs_schedule('there', '@yearly', 'SELECT 1') IS NULL AS done \gset
SELECT aggjobs_create_job('foreign', NULL, '[{"kind": "health"}]', owner => 'inputs_nobody') IS NULL AS done \gset
SELECT aggjobs_set('inputs_set', '5 4') IS NULL AS done \gset
SELECT aggjobs_schedule('uses_setting', '${inputs_set} * * *', 'SELECT 1') IS NULL AS done \gset

/*
 * Run a statement, as "role" if it is given, and compare how it ends.  A
 * message must contain "part", must not be an internal error, and must not be
 * longer than a screen can show, however long the input was.
 */
CREATE FUNCTION inputs.judge(label text, wanted text, part text, statement text, role name DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	code text := '00000';
	message text := '';
	detail text := '';
	hint text := '';
BEGIN
	BEGIN
		PERFORM set_config('role', coalesce(role, 'none'), true);
		EXECUTE statement;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	END;
	PERFORM set_config('role', 'none', true);
	IF code = ANY (string_to_array(wanted, ' ')) AND code !~ '^XX' AND strpos(concat_ws(' ', message, detail), part) > 0
	   AND length(concat(message, detail, hint)) <= 2000 THEN
		RETURN format('ok %s', label);
	END IF;
	RETURN format('FAIL %s: wanted %s with "%s", got %s: %s (%s characters; %s; %s)', label, wanted, part, code,
		left(message, 200), length(concat(message, detail, hint)), left(detail, 200), left(hint, 200));
END $$;

CREATE VIEW inputs.state AS
SELECT 'job' AS kind, job_name AS name, to_jsonb(j) - 'changed_at' AS row FROM aggjobs.job j
UNION ALL
SELECT 'setting', name, to_jsonb(s) - 'changed_at' FROM aggjobs.setting s WHERE name <> 'inputs_good'
UNION ALL
SELECT 'next slot', job_name, to_jsonb(next_slot IS NULL) FROM aggjobs.job_state JOIN aggjobs.job USING (job_id)
UNION ALL
SELECT 'rollup', rollup_name, to_jsonb(r) FROM aggjobs.rollup r
UNION ALL
SELECT 'frozen', rollup_name, to_jsonb(frozen_before) FROM aggjobs.rollup_state
UNION ALL
SELECT 'run', job_name, to_jsonb(count(*)) FROM aggjobs.run WHERE job_name <> 'good' AND trigger <> 'schedule' GROUP BY job_name;
CREATE TABLE inputs.before AS TABLE inputs.state;
CREATE TABLE inputs.server AS SELECT pg_postmaster_start_time() AS started;
