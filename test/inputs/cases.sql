-- The inputs.  Each line: what it is, the SQLSTATEs that are right, a part of
-- the message or its detail, the statement.

-- ---------------------------------------------------------------- schedules
SELECT inputs.judge('schedule ' || label, '22023', part, format('SELECT aggjobs_schedule(%L, %s, %L)', 'x', statement, 'SELECT 1'))
FROM (VALUES
	('with too few fields', '* * *', $$'* * *'$$),
	('with too many fields', '* * * * * * *', $$'* * * * * * *'$$),
	('with minute 60', '60', $$'60 * * * *'$$),
	('with hour 24', '24', $$'0 24 * * *'$$),
	('with day 0', '0', $$'0 0 0 * *'$$),
	('with month 13', '13', $$'0 0 1 13 *'$$),
	('with weekday 8', '8', $$'0 0 * * 8'$$),
	('with step 0', '0', $$'*/0 * * * *'$$),
	('with a range backwards', '30-10', $$'30-10 * * * *'$$),
	('with an empty list item', ',', $$'1,,2 * * * *'$$),
	('with an unknown name', 'foo', $$'0 0 * foo *'$$),
	('that never comes', '30 2', $$'0 0 30 2 *'$$),
	('that is over', '2001-01-01', $$'at 2001-01-01 00:00'$$),
	('with an unknown word', '@sometimes', $$'@sometimes'$$),
	('without every', '15 minutes', $$'15 minutes'$$),
	('with an unknown unit', 'fortnight', $$'every 2 fortnights'$$),
	('with 0 minutes', '0', $$'every 0 minutes'$$),
	('with a number that overflows', 'large', $$'every 99999999999999999999 minutes'$$),
	('longer than all history', '1000 years', $$'every 5000 years'$$),
	('with a negative number', '-5', $$'every -5 minutes'$$),
	('with mixed units', 'units', $$'every 1 month 3 days'$$),
	('with 30 February', '02', $$'at 2026-02-30 00:00'$$),
	('in year 10000', 'year', $$'at 10000-01-01 00:00'$$),
	('of blanks', 'empty', $$'   '$$),
	('with a newline and rubbish', 'column', $$E'0 0\n* * x'$$),
	('with an escape sequence', 'column', $$E'0 0 * * \x1b[2J'$$),
	('with letters that are not ASCII', 'ASCII', $$'٥ 0 * * *'$$),
	('with format specifiers', '%n', $$'%s%n%d * * *'$$),
	('with quotes and semicolons', 'column', $$''';DROP TABLE inputs.t;--'$$),
	('of 1 MB', '1000 bytes', $$repeat('1,', 500000)$$),
	('of 1001 bytes', '1000 bytes', $$repeat(' ', 991) || '0 0 * * *1'$$),
	('with a $ { that is never closed', '${', $$'${abc 0 * * *'$$)
) AS c (label, part, statement);
SELECT inputs.judge(label, wanted, part, statement)
FROM (VALUES
	('schedule with an unknown setting', '42704', 'no_such', $$SELECT aggjobs_schedule('x', '${no_such} * * *', 'SELECT 1')$$),
	('schedule with a setting without name', '42704 22023', '${}', $$SELECT aggjobs_schedule('x', '${} * * *', 'SELECT 1')$$),
	('schedule that goes on to name settings', '42704', '', $$SELECT aggjobs_schedule('x', '${${inputs_set}} * * *', 'SELECT 1')$$),
	('time zone that is unknown', '22023', 'Mars/Phobos', $$SELECT aggjobs_schedule('x', '@daily', 'SELECT 1', 'Mars/Phobos')$$),
	('time zone that is empty', '22023', 'time zone', $$SELECT aggjobs_schedule('x', '@daily', 'SELECT 1', '')$$),
	('time zone that is a path', '22023', '../', $$SELECT aggjobs_schedule('x', '@daily', 'SELECT 1', '../../../../etc/passwd')$$),
	('time zone that is a POSIX rule', '22023', 'XYZ5', $$SELECT aggjobs_schedule('x', '@daily', 'SELECT 1', 'XYZ5')$$),
	('time zone with leap seconds', '22023', 'right/UTC', $$SELECT aggjobs_schedule('x', '@daily', 'SELECT 1', 'right/UTC')$$),
	('time zone of 1 MB', '22023', 'time zone', $$SELECT aggjobs_schedule('x', '@daily', 'SELECT 1', repeat('Europe/', 150000))$$),
	('preview of 0 slots', '22023', ' 0 ', $$SELECT aggjobs_preview_schedule('@daily', 'UTC', 0)$$),
	('preview of -1 slots', '22023', '-1', $$SELECT aggjobs_preview_schedule('@daily', 'UTC', -1)$$),
	('preview of 2^31-1 slots', '22023', '2147483647', $$SELECT aggjobs_preview_schedule('@daily', 'UTC', 2147483647)$$),
	('preview after infinity has no slots', '00000', '', $$DO $d$ BEGIN ASSERT NOT EXISTS (SELECT FROM aggjobs_preview_schedule('@daily', 'UTC', 3, 'infinity')); END $d$ $$),
	('preview before the last instant has none', '00000', '', $$DO $d$ BEGIN ASSERT NOT EXISTS (SELECT FROM aggjobs_preview_schedule('@daily', 'UTC', 3, '294276-12-31 23:59:59')); END $d$ $$),
	('preview after -infinity ends', '00000', '', $$SELECT count(*) FROM aggjobs_preview_schedule('0 0 29 2 *', 'UTC', 10000, '-infinity')$$),
	('preview of a rare slot ends', '00000', '', $$SELECT count(*) FROM aggjobs_preview_schedule('0 0 29 2 1', 'America/Santiago', 100)$$),
	('preview of 1 MB', '22023', 'schedule', $$SELECT aggjobs_preview_schedule(repeat('1 ', 500000))$$),
	('explanation of 1 MB', '22023', 'schedule', $$SELECT aggjobs_explain_schedule(repeat('*', 1000000))$$)
) AS c (label, wanted, part, statement);

-- -------------------------------------------------------------------- names
SELECT inputs.judge('name of a job ' || label, wanted, part, format('SELECT aggjobs_schedule(%s, NULL, %L)', name, 'SELECT 1'))
FROM (VALUES
	('that is NULL', '22004', 'NULL', 'NULL'),
	('that is empty', '42602', '""', $$''$$),
	('with a newline', '42602', 'a?b', $$E'a\nb'$$),
	('with an escape sequence', '42602', '?[31m', $$E'\x1b[31mred'$$),
	('with a carriage return', '42602', '?', $$E'a\rb'$$),
	('with a DEL', '42602', '?', $$E'a\x7fb'$$),
	('of 101 bytes', '22023', '100 bytes', $$repeat('x', 101)$$),
	('of 1 MB', '22023', '100 bytes', $$repeat('é', 500000)$$),
	('that is taken', '42710', 'there', $$'there'$$)
) AS c (label, wanted, part, name);
-- Names that are odd and allowed are only names: made, looked up and dropped.
SELECT inputs.judge('job called ' || name, '00000', '', format($f$DO %L$f$, format(
	$d$BEGIN PERFORM aggjobs_schedule(%1$L, '@daily', 'SELECT 1'); PERFORM aggjobs_alter_job(%1$L, description => %1$L);
	PERFORM aggjobs_pause(%1$L); PERFORM aggjobs_resume(%1$L); ASSERT (SELECT count(*) FROM aggjobs_status(%1$L)) = 1;
	ASSERT (SELECT count(*) FROM aggjobs_sync_jobs(jsonb_build_array(jsonb_build_object('name', %1$L::text))) WHERE action = 'keep') = 1;
	PERFORM aggjobs_trigger(%1$L, dry_run => true); PERFORM aggjobs_drop_job(%1$L); END$d$, name)))
FROM unnest(ARRAY['it''s', '"quoted"', '''; DROP TABLE inputs.t; --', '$$', '$1', '%s%n%d', '\', '\x', '${A}', '{"a": 1}', '日本語', ' ', 'NULL', '*', repeat('x', 100)]) AS name;

SELECT inputs.judge(label, wanted, part, statement)
FROM (VALUES
	('unknown job to alter', '42704', 'nope', $$SELECT aggjobs_alter_job('nope', schedule => '@daily')$$),
	('unknown job to drop', '42704', 'nope', $$SELECT aggjobs_drop_job('nope')$$),
	('unknown job to pause', '42704', 'nope', $$SELECT aggjobs_pause('nope')$$),
	('unknown job to resume', '42704', 'nope', $$SELECT aggjobs_resume('nope')$$),
	('unknown job to trigger', '42704', 'nope', $$SELECT aggjobs_trigger('nope')$$),
	('unknown job to run', '42704', 'nope', $$CALL aggjobs_run('nope')$$),
	('unknown job with an injection', '42704', 'DROP TABLE', $$SELECT aggjobs_trigger('''; DROP TABLE inputs.t; --')$$),
	('new name that is taken', '42710', 'good', $$SELECT aggjobs_alter_job('there', new_name => 'good')$$),
	('new name that is empty', '42602', '""', $$SELECT aggjobs_alter_job('there', new_name => '')$$),
	('owner that is unknown', '42704', 'nobody_there', $$SELECT aggjobs_create_job('x', NULL, '[{"kind": "health"}]', owner => 'nobody_there')$$),
	('owner that may not log in', '42501', 'x', $$SELECT aggjobs_create_job('x', NULL, '[{"kind": "health"}]', owner => 'pg_monitor')$$)
) AS c (label, wanted, part, statement);
SELECT inputs.judge('somebody else''s job: ' || statement, '42501', part, statement, 'inputs_owner')
FROM (VALUES
	('foreign', $$SELECT aggjobs_alter_job('foreign', schedule => '@daily')$$),
	('foreign', $$SELECT aggjobs_drop_job('foreign')$$),
	('foreign', $$SELECT aggjobs_trigger('foreign')$$),
	('foreign', $$CALL aggjobs_run('foreign')$$),
	('foreign', $$SELECT * FROM aggjobs_sync_jobs('[{"name": "foreign", "command": "SELECT 1"}]')$$),
	('inputs_nobody', $$SELECT aggjobs_create_job('x', NULL, '[{"kind": "health"}]', owner => 'inputs_nobody')$$),
	('aggjobs_set', $$SELECT aggjobs_set('inputs_set', '1')$$)
) AS c (part, statement);

-- --------------------------------------------------------------------- NULL
SELECT inputs.judge('NULL: ' || statement, wanted, part, statement)
FROM (VALUES
	('22004', 'NULL', $$SELECT aggjobs_schedule(NULL, NULL, NULL, NULL)$$),
	('22004', 'x', $$SELECT aggjobs_schedule('x', NULL, NULL)$$),
	('22004', 'NULL', $$SELECT aggjobs_create_job(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)$$),
	('22004', 'x', $$SELECT aggjobs_create_job('x', NULL, NULL)$$),
	('22004', 'NULL', $$SELECT aggjobs_alter_job(NULL)$$),
	('22004', 'NULL', $$SELECT aggjobs_drop_job(NULL)$$),
	('22023', 'array', $$SELECT aggjobs_sync_jobs(NULL, NULL, NULL)$$),
	('22004', 'NULL', $$SELECT aggjobs_set(NULL, 'x')$$),
	('42704', 'no_such', $$SELECT aggjobs_set('no_such', NULL)$$),
	('22004', 'NULL', $$SELECT aggjobs_trigger(NULL, NULL, NULL)$$),
	('22004', 'NULL', $$CALL aggjobs_run(NULL, NULL, NULL)$$),
	('22004', 'NULL', $$SELECT aggjobs_wait(NULL, NULL)$$),
	('22004', 'NULL', $$SELECT aggjobs_cancel(NULL)$$),
	('22004', 'NULL', $$SELECT aggjobs_retry(NULL)$$),
	('22004', 'null', $$SELECT aggjobs_grant(NULL)$$),
	('22004', 'null', $$SELECT aggjobs_revoke(NULL)$$),
	('00000', '', $$SELECT * FROM aggjobs_status(NULL)$$),
	('00000', '', $$SELECT * FROM aggjobs_history(NULL, NULL)$$),
	('00000', '', $$SELECT * FROM aggjobs_logs(NULL, NULL, NULL)$$),
	('00000', '', $$SELECT * FROM aggjobs_preview_schedule(NULL, NULL, NULL, NULL)$$),
	('00000', '', $$SELECT * FROM aggjobs_explain_schedule(NULL, NULL)$$),
	('00000', '', $$SELECT aggjobs_alter_job('there', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)$$)
) AS c (wanted, part, statement);

-- -------------------------------------------------------------------- steps
SELECT inputs.judge('steps ' || left(steps, 60), wanted, part, format('SELECT aggjobs_create_job(%L, NULL, %L)', 'x', steps))
FROM (VALUES
	('22023', 'array', '1'),
	('22023', 'array', '"command"'),
	('22023', 'array', 'null'),
	('22023', 'array', 'true'),
	('22023', 'array', '{"kind": "health"}'),
	('22023', '0', '[]'),
	('22023', 'object', '[1]'),
	('22023', 'object', '[null]'),
	('22023', 'object', '[[{"kind": "health"}]]'),
	('22023', 'kind', '[{}]'),
	('22023', 'kind', '[{"kind": null}]'),
	('22023', 'kind', '[{"kind": 5}]'),
	('22023', 'shell', '[{"kind": "shell", "command": "rm -rf /"}]'),
	('22023', 'HEALTH', '[{"kind": "HEALTH"}]'),
	('22023', '%s%n', '[{"kind": "%s%n"}]'),
	('22023', 'extra', '[{"kind": "health", "extra": 1}]'),
	('22023', 'comand', '[{"kind": "command", "comand": "SELECT 1"}]'),
	('22023', 'command', '[{"kind": "command"}]'),
	('22023', 'command', '[{"kind": "command", "command": null}]'),
	('22023', 'command', '[{"kind": "command", "command": ""}]'),
	('42601 22023', '5', '[{"kind": "command", "command": 5}]'),
	('42601 22023', '', '[{"kind": "command", "command": {"sql": "SELECT 1"}}]'),
	('42601 22023', '', '[{"kind": "command", "command": ["SELECT 1"]}]'),
	('42601', 'SELEC', '[{"kind": "command", "command": "SELEC 1"}]'),
	('42601', 'unterminated', '[{"kind": "command", "command": "SELECT ''"}]'),
	('0A000', 'COMMIT', '[{"kind": "command", "command": "SELECT 1; COMMIT"}]'),
	('0A000', 'COPY', '[{"kind": "command", "command": "COPY (SELECT 1) TO STDOUT"}]'),
	('22023', 'rollup', '[{"kind": "rollup"}]'),
	('42704', 'nope', '[{"kind": "rollup", "rollup": "nope"}]'),
	('42704', '[', '[{"kind": "rollup", "rollup": ["hourly_analytics"]}]'),
	('22023', 'views', '[{"kind": "refresh_matview", "views": "x"}]'),
	('42602 42P01', '', '[{"kind": "refresh_matview", "views": [1]}]'),
	('22023', 'views', '[{"kind": "refresh_matview", "views": []}]'),
	('42602', '', '[{"kind": "refresh_matview", "view": ""}]'),
	('42602 42601', '', '[{"kind": "refresh_matview", "view": "a.b.c.d.e"}]'),
	('0A000 42P01', '', '[{"kind": "refresh_matview", "view": "another_database.public.x"}]'),
	('42P01', 'no_such', '[{"kind": "refresh_matview", "view": "inputs.no_such"}]'),
	('42809', 'inputs.t', '[{"kind": "refresh_matview", "view": "inputs.t"}]'),
	('42602 42P01', '', '[{"kind": "refresh_matview", "view": "t\"; DROP TABLE inputs.t; --"}]'),
	('22023', 'table', '[{"kind": "retention", "table": "inputs.t"}]'),
	('22007 22023', 'soon', '[{"kind": "retention", "table": "inputs.t", "column": "t", "keep": "soon"}]'),
	('22023', '-1', '[{"kind": "retention", "table": "inputs.t", "column": "t", "keep": "-1 day"}]'),
	('22008', 'out of range', '[{"kind": "retention", "table": "inputs.t", "column": "t", "keep": "999999 years"}]'),
	('22008 22015', 'range', '[{"kind": "retention", "table": "inputs.t", "column": "t", "keep": "99999999999999999999 days"}]'),
	('42703', 'nope', '[{"kind": "retention", "table": "inputs.t", "column": "nope", "keep": "1 day"}]'),
	('42P01 3F000', 'nope', '[{"kind": "retention", "table": "nope.t", "column": "t", "keep": "1 day"}]'),
	('22023', 'ended_at', '[{"kind": "retention", "table": "execution_spans", "column": "ended_at", "keep": "1 day"}]'),
	('22023', 'max_rows', '[{"kind": "retention", "max_rows": 0}]'),
	('22023', '1.5', '[{"kind": "retention", "max_rows": 1.5}]'),
	('22023', '9999999999999999999999', '[{"kind": "retention", "max_rows": 9999999999999999999999}]'),
	('22023', 'many', '[{"kind": "retention", "max_rows": "many"}]'),
	('22023', '[1]', '[{"kind": "retention", "max_rows": [1]}]'),
	('22023', 'batch', '[{"kind": "retention", "batch": 1000001}]'),
	('22023', '-1', '[{"kind": "retention", "batch": -1}]'),
	('22023', 'max_time', '[{"kind": "retention", "max_time": "0"}]'),
	('22023', 'soon', '[{"kind": "retention", "max_time": "soon"}]'),
	('22023', '-1 hour', '[{"kind": "retention", "max_time": "-1 hour"}]'),
	('22023', 'infinity', '[{"kind": "retention", "max_time": "infinity"}]'),
	('22023', '999999999', '[{"kind": "retention", "max_time": "999999999 years"}]'),
	('22023', '21 days', '[{"kind": "retention", "lock_timeout": "21 days"}]'),
	('22023', 'lock_timeout', '[{"kind": "retention", "lock_timeout": "1 microsecond"}]'),
	('22023', 'statement_timeout', '[{"kind": "retention", "statement_timeout": ""}]'),
	('22023', 'true', '[{"kind": "retention", "statement_timeout": true}]')
) AS c (wanted, part, steps);
SELECT inputs.judge(label, wanted, part, statement)
FROM (VALUES
	('steps that are not JSON', '22P02', 'json', $$SELECT aggjobs_create_job('x', NULL, '[{')$$),
	('steps with a NUL', '22P05', 'Unicode', $$SELECT aggjobs_create_job('x', NULL, '[{"kind": "\u0000"}]')$$),
	('steps with a huge number', '22023 22003 22P02', '', $$SELECT aggjobs_create_job('x', NULL, '1e100000')$$),
	('steps nested 10000 deep', '22023 54001', '', $$SELECT aggjobs_create_job('x', NULL, (repeat('[', 10000) || repeat(']', 10000))::jsonb)$$),
	('a step nested 10000 deep', '22023 54001', '', $$SELECT aggjobs_create_job('x', NULL, ('[{"kind": ' || repeat('[', 10000) || repeat(']', 10000) || '}]')::jsonb)$$),
	('101 steps', '22023', '101', $$SELECT aggjobs_create_job('x', NULL, (SELECT jsonb_agg('{"kind": "health"}'::jsonb) FROM generate_series(1, 101)))$$),
	('a kind of 1 MB', '22023', 'kind', $$SELECT aggjobs_create_job('x', NULL, jsonb_build_array(jsonb_build_object('kind', repeat('x', 1000000))))$$),
	('a key of 1 MB', '22023', 'key', $$SELECT aggjobs_create_job('x', NULL, jsonb_build_array(jsonb_build_object('kind', 'health', repeat('x', 1000000), 1)))$$),
	('a view of 1 MB', '42602 42P01 42622', '', $$SELECT aggjobs_create_job('x', NULL, jsonb_build_array(jsonb_build_object('kind', 'refresh_matview', 'view', repeat('x', 1000000))))$$),
	('a command of 1 MB that is no SQL', '42601', '', $$SELECT aggjobs_schedule('x', NULL, repeat('x ', 500000))$$),
	('a command of 100000 brackets', '42601 54001', '', $$SELECT aggjobs_schedule('x', NULL, repeat('(', 100000))$$),
	('a duplicate key counts once, the last', '22023', 'last', $$SELECT aggjobs_create_job('x', NULL, '[{"kind": "health", "kind": "last"}]')$$),
	('steps and command', '22023', 'both', $$SELECT aggjobs_alter_job('there', steps => '[{"kind": "health"}]', command => 'SELECT 1')$$)
) AS c (label, wanted, part, statement);

-- ------------------------------------------------------------------- limits
SELECT inputs.judge(argument, wanted, part, format('SELECT aggjobs_create_job(%L, NULL, %L, %s)', 'x', '[{"kind": "health"}]', argument))
FROM (VALUES
	('22023', 'negative', $$timeout => '-1 s'$$),
	('22023', 'negative', $$timeout => '1 day -25 hours'$$),
	('22023', '1000 years', $$timeout => '1001 years'$$),
	('22023', '1000 years', $$timeout => '170000000 years'$$),
	('22007', 'soon', $$timeout => 'soon'$$),
	('22008 22015', 'range', $$timeout => '99999999999999999999 s'$$),
	('22023', '-1', $$memory_limit => '-1'$$),
	('22023', '1 kB', $$memory_limit => '1 kB'$$),
	('22023', 'abc', $$memory_limit => 'abc'$$),
	('22023 22003', '', $$memory_limit => '9999 PB'$$),
	('22023', '', $$memory_limit => ''$$),
	('22023', '1e', $$memory_limit => '1e'$$),
	('22023', '-1', $$keep_successes => -1$$),
	('22023', '2147483647', $$keep_successes => 2147483647$$),
	('22023', '-2147483648', $$keep_failures => (-2147483648)$$),
	('22023', 'negative', $$keep_age => '-1 day'$$),
	('22023', '1000 years', $$keep_age => '10000 years'$$),
	('22023', '10000 bytes', $$description => repeat('x', 1000000)$$),
	('22023', 'object', $$settings => '[]'$$),
	('22023', 'object', $$settings => '5'$$),
	('42704', 'no_such', $$settings => '{"no_such": 1}'$$),
	('42602', '', $$settings => '{"a b.c d": 1}'$$),
	('22023', 'work_mem', $$settings => '{"work_mem": "a lot"}'$$),
	('22023', 'work_mem', $$settings => '{"work_mem": {"a": 1}}'$$),
	('22023', 'work_mem', $$settings => '{"work_mem": 1e300}'$$),
	('22023', 'role', $$settings => '{"role": "postgres"}'$$),
	('22023', 'Session_Authorization', $$settings => '{"Session_Authorization": "postgres"}'$$),
	('55P02', 'max_connections', $$settings => '{"max_connections": 1}'$$),
	('55P02', 'aggjobs.max_workers', $$settings => '{"aggjobs.max_workers": "1"}'$$),
	('42704', '""', $$settings => '{"": 1}'$$)
) AS c (wanted, part, argument);

-- ----------------------------------------------------------------- settings
SELECT inputs.judge(label, wanted, part, statement)
FROM (VALUES
	('setting name that is empty', '42602', '""', $$SELECT aggjobs_set('', 'x')$$),
	('setting name with a control character', '42602', '?', $$SELECT aggjobs_set(E'a\x01', 'x')$$),
	('setting name with blanks', '42602', 'a b', $$SELECT aggjobs_set('a b', 'x')$$),
	('setting name with a brace', '42602', 'a}', $$SELECT aggjobs_set('a}', 'x')$$),
	('setting name that begins with a digit', '42602', '1a', $$SELECT aggjobs_set('1a', 'x')$$),
	('setting name of 101 bytes', '42602', 'xxx', $$SELECT aggjobs_set(repeat('x', 101), 'x')$$),
	('setting name of 1 MB', '42602', 'xxx', $$SELECT aggjobs_set(repeat('x', 1000000), 'x')$$),
	('setting value of 1 MB', '22023', '1000 bytes', $$SELECT aggjobs_set('a', repeat('x', 1000000))$$),
	('setting that spoils a schedule', '22023', 'x\', $$SELECT aggjobs_set('inputs_set', 'x\')$$),
	('setting with control characters in a schedule', '22023', '', $$SELECT aggjobs_set('inputs_set', E'\x01\x1b[2J')$$),
	('setting that names itself', '22023', '${inputs_set}', $$SELECT aggjobs_set('inputs_set', '${inputs_set}')$$),
	('setting that is in use and taken away', '42704', 'inputs_set', $$SELECT aggjobs_set('inputs_set', NULL)$$),
	('retention without table', '42602', 'retention.', $$SELECT aggjobs_set('retention.', '1 day')$$),
	('retention with too many names', '42602', 'retention.a.b.c', $$SELECT aggjobs_set('retention.a.b.c', '1 day')$$),
	('retention with an empty name', '42602', '', $$SELECT aggjobs_set('retention.a..b', '1 day')$$),
	('retention that is negative', '22023', '-1 day', $$SELECT aggjobs_set('retention.run', '-1 day')$$),
	('retention that is no interval', '22007', 'long', $$SELECT aggjobs_set('retention.execution_spans', 'long')$$),
	('retention beyond all time', '22008', 'range', $$SELECT aggjobs_set('retention.execution_spans', '999999 years')$$)
) AS c (label, wanted, part, statement);

-- --------------------------------------------------------------------- runs
SELECT inputs.judge(statement, wanted, part, statement)
FROM (VALUES
	('22023', 'finite', $$SELECT aggjobs_trigger('there', 'infinity')$$),
	('22023', 'finite', $$SELECT aggjobs_trigger('there', '-infinity')$$),
	('22023', 'finite', $$CALL aggjobs_run('there', 'infinity')$$),
	('00000', '', $$SELECT aggjobs_trigger('hourly', '294276-12-31 23:59', true)$$),
	('42704', '0', $$SELECT aggjobs_wait(0)$$),
	('42704', '-1', $$SELECT aggjobs_wait(-1, '1 s')$$),
	('42704', '9223372036854775807', $$SELECT aggjobs_wait(9223372036854775807)$$),
	('42704', '0', $$SELECT aggjobs_cancel(0)$$),
	('42704', '-9223372036854775808', $$SELECT aggjobs_cancel((-9223372036854775808))$$),
	('42704', '9223372036854775807', $$SELECT aggjobs_retry(9223372036854775807)$$),
	('22008', 'out of range', $$SELECT aggjobs_wait(0, '999999999 days')$$),
	('00000', '', $$SELECT * FROM aggjobs_logs(-1, 2147483647, 'infinity')$$),
	('2201W', 'LIMIT', $$SELECT * FROM aggjobs_logs(0, -1)$$),
	('00000', '', $$SELECT * FROM aggjobs_history('%s', -2147483648)$$),
	('00000', '', $$SELECT * FROM aggjobs_status(repeat('x', 1000000))$$)
) AS c (wanted, part, statement);

-- ---------------------------------------------------------------- sync_jobs
SELECT inputs.judge('sync ' || left(jobs, 70), wanted, part, format('SELECT * FROM aggjobs_sync_jobs(%L)', jobs))
FROM (VALUES
	('22023', 'array', '{}'),
	('22023', 'array', '"x"'),
	('22023', 'object', '[1]'),
	('22023', 'object', '[[]]'),
	('22004', 'NULL', '[{}]'),
	('22004', 'NULL', '[{"name": null}]'),
	('22023', 'nam', '[{"nam": "x"}]'),
	('22004', 'x', '[{"name": "x"}]'),
	('42602', '?', '[{"name": "\u001b"}]'),
	('22023', 'twice', '[{"name": "x", "command": "SELECT 1"}, {"name": "x", "command": "SELECT 1"}]'),
	('22023', 'both', '[{"name": "x", "command": "SELECT 1", "steps": []}]'),
	('22023', 'enabled', '[{"name": "x", "command": "SELECT 1", "enabled": "maybe"}]'),
	('22P02', '1.5', '[{"name": "x", "command": "SELECT 1", "keep_successes": 1.5}]'),
	('22003', '99999999999', '[{"name": "x", "command": "SELECT 1", "keep_failures": 99999999999}]'),
	('22P02 22003', '', '[{"name": "x", "command": "SELECT 1", "keep_failures": 1e300}]'),
	('22007', 'x', '[{"name": "x", "command": "SELECT 1", "timeout": "x"}]'),
	('22023', 'negative', '[{"name": "x", "command": "SELECT 1", "timeout": "-1 s"}]'),
	('22023', '', '[{"name": "x", "command": "SELECT 1", "schedule": {"cron": "* * * * *"}}]'),
	('22023', 'Nowhere', '[{"name": "x", "command": "SELECT 1", "time_zone": "Nowhere"}]'),
	('42704', 'nope', '[{"name": "x", "command": "SELECT 1", "owner": "nope"}]'),
	('22023', 'settings', '[{"name": "x", "command": "SELECT 1", "settings": "x"}]')
) AS c (wanted, part, jobs);

-- ------------------------------------- functions of capture, live views and rollups
CREATE TABLE inputs.captured (t timestamptz, d date, "a b" timestamptz);
CREATE FUNCTION inputs.with_trigger(definition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE TRIGGER captures ' || definition;
	INSERT INTO inputs.captured VALUES (now());
	UPDATE inputs.captured SET t = 'infinity';
	TRUNCATE inputs.captured;
	RAISE 'fine' USING ERRCODE = 'FINE0';
END $$;
SELECT inputs.judge(statement, wanted, part, statement)
FROM (VALUES
	('39P01', 'must not be called', $$SELECT aggjobs.capture_row()$$),
	('39P01', 'must not be called', $$SELECT inputs.with_trigger('AFTER INSERT ON inputs.captured FOR EACH ROW EXECUTE FUNCTION aggjobs.capture_row()')$$),
	('39P01', 'must not be called', $$SELECT inputs.with_trigger('BEFORE UPDATE ON inputs.captured FOR EACH ROW EXECUTE FUNCTION aggjobs.capture_row(''t'')')$$),
	('FINE0', 'fine', $$SELECT inputs.with_trigger('AFTER UPDATE ON inputs.captured FOR EACH ROW WHEN (aggjobs.note_update(''inputs.captured''::regclass, OLD.t, NEW.t)) EXECUTE FUNCTION aggjobs.capture_row()')$$),
	('42804', 'text', $$SELECT aggjobs.note_delete('inputs.captured', 'x'::text)$$),
	('00000', '', $$SELECT aggjobs.note_delete('inputs.captured', now())$$),
	('00000', '', $$SELECT aggjobs.note_update('inputs.captured', now(), now(), 'a'::text, NULL::text)$$),
	('39P01', '', $$SELECT aggjobs.note_delete(NULL, now())$$),
	('42P01', 'nope', $$SELECT aggjobs.open_from('nope', now())$$),
	('42P01', 'nope', $$SELECT aggjobs.open_beyond('nope', now())$$),
	('42P01', 'nope', $$SELECT aggjobs.is_clean('nope', now())$$),
	('42704', 'pg_class', $$SELECT * FROM aggjobs.dirty_buckets('pg_class', now())$$),
	('42704', '4711', $$SELECT aggjobs.open_from(4711, now())$$),
	('42804', 'bigint', $$SELECT aggjobs.open_from('aggjobs.hourly_analytics', 1::bigint)$$),
	('55000', 'refresh', $$SELECT aggjobs.wanted(now(), 1)$$),
	('39P01', 'event trigger', $$SELECT aggjobs.on_ddl()$$),
	('42704', 'nope', $$SELECT aggjobs_drop_rollup('nope')$$),
	('42704', 'nope', $$CALL aggjobs_refresh('nope')$$),
	('22004', 'name', $$SELECT aggjobs_create_rollup(NULL, 'SELECT 1')$$),
	('22004', 'query', $$SELECT aggjobs_create_rollup('x', NULL)$$),
	('42601', 'SELEC', $$SELECT aggjobs_create_rollup('x', 'SELEC')$$),
	('42601', 'one query', $$SELECT aggjobs_create_rollup('x', '')$$),
	('22023', 'lookback', $$SELECT aggjobs_create_rollup('x', 'SELECT 1', lookback => -1)$$)
) AS c (wanted, part, statement);
