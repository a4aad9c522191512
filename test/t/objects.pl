# What jobs work on is dropped or changed while their runs are queued or go on,
# jobs are changed while they run, users hold locks, and rows of aggjobs.job
# hold nonsense: runs end with the reason, and nothing else stops.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('objects', conf => "deadlock_timeout = 3s\n");

sub sql { return $node->safe_psql('postgres', 'SET client_min_messages = warning;' . join(';', @_)); }
sub now { return $node->safe_psql('postgres', 'SELECT clock_timestamp()'); }

sub session
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->set_query_timer_restart;
	# Of two that wait for each other, the job finds out.
	$session->query_safe(q{SET client_min_messages = warning; SET deadlock_timeout = '1h'});
	return $session;
}
my $holder = session();
sub hold { $holder->query_safe('SELECT pg_advisory_lock(1)'); return; }
sub let_go { $holder->query_safe('SELECT pg_advisory_unlock(1)'); return; }
my $WAIT = 'SELECT pg_advisory_xact_lock_shared(1)';

# Wait until the worker of a run waits for the lock on a table.
sub wait_for_table
{
	my ($run) = @_;
	wait_for($node, 'postgres', qq{
		SELECT EXISTS (SELECT FROM aggjobs.runs r
			JOIN pg_stat_activity a ON a.pid = r.worker_pid
			WHERE r.run_id = $run AND r.status = 'running'
			  AND a.wait_event_type = 'Lock' AND a.wait_event = 'relation')},
		"run $run waits for a table");
	return;
}

sub is_run
{
	my ($run, $status, $error, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(wait_for_end($node, 'postgres', $run), $status, "$what: $status");
	like(run_field($node, 'postgres', $run, q{concat_ws(' ', sqlstate, error, note)}), $error, "$what: the reason")
	  if defined $error;
	return;
}

sub make_job
{
	my ($name, $steps) = @_;
	return sql(qq{SELECT aggjobs_create_job('$name', NULL, '$steps')});
}

# On a machine under load a slot may come while the run before is not over.
add_job($node, 'postgres', 'clock', 'every 1 second', 'SELECT 1', catch_up => q{'all'});

sub clock_goes_on
{
	my ($since) = @_;
	wait_for($node, 'postgres', qq{
		SELECT count(*) >= 2 FROM aggjobs.runs
		WHERE job_name = 'clock' AND status = 'succeeded' AND slot > '$since'}, 'the clock goes on');
	is($node->safe_psql('postgres', qq{
			SELECT count(*) FROM aggjobs.runs
			WHERE job_name = 'clock' AND slot > '$since' AND status NOT IN ('queued', 'running', 'succeeded', 'skipped')}),
		0, 'other jobs go on');
	return;
}

sub make_source
{
	sql(q{CREATE TABLE raw (at timestamptz NOT NULL, v int)}, q{INSERT INTO raw VALUES ('2026-01-01 00:10+00', 1)},
		q{SELECT aggjobs_create_rollup('kept', $q$SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$q$, schedule => NULL)});
	make_job('fills', '[{"kind": "rollup", "rollup": "kept"}]');
	return;
}

subtest 'DROP TABLE source' => sub {
	my $since = now();

	make_source();
	my $ddl = session();
	$ddl->query_safe('BEGIN; LOCK TABLE raw');
	my $run = trigger($node, 'postgres', 'fills');
	wait_for_table($run);
	$ddl->query_safe('DROP TABLE raw CASCADE; COMMIT');
	is_run($run, 'failed', qr/^(40P01 deadlock detected|42\w+ .*(raw|kept))/, 'while it waits for the table');
	is_run(trigger($node, 'postgres', 'fills'), 'failed', qr/^42704 rollup "kept" does not exist, or its table was dropped$/, 'later, with its name');
	like(run_field($node, 'postgres', sql(q{SELECT last_run_id FROM aggjobs.jobs WHERE job_name = 'fills'}), 'hint'), qr/\S/, 'and a hint');
	sql(q{SELECT aggjobs_drop_job('fills')}, q{DROP TABLE IF EXISTS kept});

	add_job($node, 'postgres', 'reads', undef, 'SELECT count(*) FROM public.plain');
	is_run(trigger($node, 'postgres', 'reads'), 'failed', qr/^42P01 relation "public.plain" does not exist/, 'of a command that was never right');
	sql(q{CREATE TABLE plain (v int)});
	is_run(trigger($node, 'postgres', 'reads'), 'succeeded', undef, 'once it is there');
	$ddl->query_safe('BEGIN; LOCK TABLE plain');
	$run = trigger($node, 'postgres', 'reads');
	wait_for_table($run);
	$ddl->query_safe('DROP TABLE plain; COMMIT');
	is_run($run, 'failed', qr/^42P01 relation "public.plain" does not exist|could not open/, 'dropped while it waits');
	$ddl->quit;
	sql(q{SELECT aggjobs_drop_job('reads')});
	clock_goes_on($since);
};

subtest 'DROP TABLE target' => sub {
	make_source();
	my $ddl = session();
	$ddl->query_safe('BEGIN; LOCK TABLE kept');
	my $run = trigger($node, 'postgres', 'fills');
	wait_for_table($run);
	$ddl->query_safe('DROP TABLE kept CASCADE; COMMIT');
	is_run($run, 'failed', qr/^(40P01 deadlock detected|42\w+ .*(raw|kept))/, 'while it waits for the table');
	is_run(trigger($node, 'postgres', 'fills'), 'failed', qr/^42704 rollup "kept" does not exist, or its table was dropped$/, 'later, with its name');
	is(sql(q{SELECT count(*) FROM raw}), 1, 'the source is untouched');
	sql(q{INSERT INTO raw VALUES ('2026-01-01 00:20+00', 2)});
	$ddl->quit;
	sql(q{SELECT aggjobs_drop_job('fills')}, q{DROP TABLE raw});
};

subtest 'DROP MATVIEW' => sub {
	sql(q{CREATE MATERIALIZED VIEW matview AS SELECT 1 AS one});
	make_job('refreshes', '[{"kind": "refresh_matview", "view": "public.matview"}]');
	my $ddl = session();
	$ddl->query_safe('BEGIN; LOCK TABLE pg_catalog.pg_class IN ACCESS SHARE MODE; DROP MATERIALIZED VIEW matview');
	my $run = trigger($node, 'postgres', 'refreshes');
	wait_for_table($run);
	$ddl->query_safe('COMMIT');
	is_run($run, 'failed', qr/^42P01 .*matview" does not exist/, 'while the run waits for it');
	is_run(trigger($node, 'postgres', 'refreshes'), 'failed', qr/^42P01 materialized view "public.matview" does not exist$/, 'later, with its name');
	sql(q{CREATE MATERIALIZED VIEW matview AS SELECT 1 AS one});
	is_run(trigger($node, 'postgres', 'refreshes'), 'succeeded', undef, 'made again');
	$ddl->quit;
	sql(q{SELECT aggjobs_drop_job('refreshes')}, q{DROP MATERIALIZED VIEW matview});
};

subtest 'a view that a command reads' => sub {
	my $since = now();
	my $ddl = session();

	sql(q{CREATE TABLE plain (v int)}, q{INSERT INTO plain VALUES (1)}, q{CREATE VIEW seen AS SELECT v FROM plain},
		q{CREATE TABLE copied (v int)}, q{SELECT aggjobs_set_queue('one', 1)});
	add_job($node, 'postgres', 'reads', undef, 'INSERT INTO copied SELECT v FROM seen', queue => q{'one'});
	add_job($node, 'postgres', 'reads long', undef, 'SELECT v, pg_advisory_xact_lock_shared(1) FROM seen', queue => q{'one'});
	is_run(trigger($node, 'postgres', 'reads'), 'succeeded', undef, 'as it was');

	# A run that waits for the view, and one that is queued behind another.
	$ddl->query_safe('BEGIN; CREATE OR REPLACE VIEW seen AS SELECT v + 1 AS v, v AS more FROM plain');
	my $run = trigger($node, 'postgres', 'reads');
	wait_for_table($run);
	$ddl->query_safe('COMMIT');
	is_run($run, 'succeeded', undef, 'replaced while the run waits');
	is(sql(q{SELECT string_agg(v::text, ',' ORDER BY v) FROM copied}), '1,2', 'and it reads the new one');

	hold();
	my $long = trigger($node, 'postgres', 'reads long');
	wait_in_command($node, 'postgres', $long);
	$run = trigger($node, 'postgres', 'reads');
	for my $change ('DROP VIEW seen', 'CREATE OR REPLACE VIEW seen AS SELECT v + 2 AS v, v AS more FROM plain')
	{
		is((sqlstate_of($node, 'postgres', "SET lock_timeout = '100ms';\n$change;"))[0], '55P03', "$change: waits for the run that reads it");
	}
	$ddl->query_until(qr/dropping/, "\\echo dropping\nDROP VIEW seen;\n");
	wait_for($node, 'postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query = 'DROP VIEW seen;' AND wait_event = 'relation')});
	is(run_field($node, 'postgres', $run, 'status'), 'queued', 'another run is queued');
	let_go();
	is_run($long, 'succeeded', undef, 'the one that reads it');
	is_run($run, 'failed', qr/^42P01 relation "seen" does not exist$/, 'dropped while it is queued');

	sql(q{CREATE VIEW seen AS SELECT v FROM plain});
	$ddl->query_safe('BEGIN; DROP VIEW seen');
	$run = trigger($node, 'postgres', 'reads');
	wait_for_table($run);
	$ddl->query_safe('COMMIT');
	is_run($run, 'failed', qr/^42P01 relation "seen" does not exist$/, 'dropped while the run waits');
	sql(q{CREATE VIEW seen AS SELECT v + 4 AS v FROM plain});
	is_run(trigger($node, 'postgres', 'reads'), 'succeeded', undef, 'made again');
	is(sql(q{SELECT string_agg(v::text, ',' ORDER BY v) FROM copied}), '1,2,5', 'no run has left half of its work');
	$ddl->quit;
	sql(q{SELECT aggjobs_drop_job('reads'), aggjobs_drop_job('reads long')}, q{SELECT aggjobs_drop_queue('one')}, q{DROP VIEW seen}, q{DROP TABLE plain, copied});
	clock_goes_on($since);
};

subtest 'a view that is the source of a rollup' => sub {
	my $since = now();
	my $ddl = session();
	my $replace = sub { "CREATE OR REPLACE VIEW seen AS SELECT at, v + $_[0] AS v FROM raw" };
	my $wrong = q{SELECT count(*) FROM (
		(SELECT bucket, total FROM %s EXCEPT SELECT date_trunc('hour', at, 'UTC'), sum(v) FROM seen GROUP BY 1) UNION ALL
		(SELECT date_trunc('hour', at, 'UTC'), sum(v) FROM seen GROUP BY 1 EXCEPT SELECT bucket, total FROM %s)) AS d};

	sql(q{CREATE TABLE raw (at timestamptz NOT NULL, v int)}, $replace->(0),
		q{INSERT INTO raw SELECT date_trunc('hour', now()) - g * interval '30 minutes', g FROM generate_series(1, 20) AS g},
		q{SELECT aggjobs_create_rollup('kept', $q$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(v) AS total FROM seen GROUP BY 1$q$,
			schedule => NULL, lookback => 1000)});
	make_job('fills', '[{"kind": "rollup", "rollup": "kept"}]');
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'as it was');
	is(sql(sprintf $wrong, 'kept', 'kept'), 0, 'the table is right');

	$ddl->query_safe('BEGIN; ' . $replace->(1));
	my $run = trigger($node, 'postgres', 'fills');
	wait_for_table($run);
	$ddl->query_safe('COMMIT');
	is_run($run, 'succeeded', undef, 'replaced while the run waits');
	is(sql(sprintf $wrong, 'kept', 'kept'), 0, 'the table is as the new one has it');
	is(sql(sprintf $wrong, 'kept_live', 'kept_live'), 0, 'so is the live view');

	is((sqlstate_of($node, 'postgres', 'DROP VIEW seen;'))[0], '2BP01', 'DROP VIEW without CASCADE is refused');
	# One that is renamed away is another; the rollup follows it.
	sql(q{ALTER VIEW seen RENAME TO seen_elsewhere});
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'renamed');
	sql(q{ALTER VIEW seen_elsewhere RENAME TO seen});

	# What is dropped with it is the rollup, too, so that is what the run waits for.
	$ddl->query_safe('BEGIN; DROP VIEW seen CASCADE');
	$run = trigger($node, 'postgres', 'fills');
	wait_for($node, 'postgres', qq{SELECT EXISTS (SELECT FROM aggjobs.workers WHERE run_id = $run AND cardinality(blocked_by) = 1)});
	$ddl->query_safe('COMMIT');
	is_run($run, 'failed', qr/^42704 rollup "kept" was dropped$/, 'dropped while the run waits');
	is_run(trigger($node, 'postgres', 'fills'), 'failed', qr/^42704 rollup "kept" does not exist, or its table was dropped$/, 'later');
	is(sql(q{SELECT count(*) > 0 FROM kept}), 't', 'the table stays, with its rows');
	$ddl->quit;
	sql(q{SELECT aggjobs_drop_job('fills')}, q{DROP TABLE kept, raw});
	clock_goes_on($since);
};

subtest 'ALTER TABLE source while a run waits' => sub {
	make_source();
	my $ddl = session();

	# What changes nothing for the query, and what it follows.
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'a run before it');
	for ('ADD COLUMN more int', 'RENAME COLUMN v TO w')
	{
		sql(q{INSERT INTO raw VALUES ('2026-01-01 01:10+00', 1)});
		$ddl->query_safe("BEGIN; LOCK TABLE raw");
		my $run = trigger($node, 'postgres', 'fills');
		wait_for_table($run);
		$ddl->query_safe("ALTER TABLE raw $_; COMMIT");
		is_run($run, 'succeeded', undef, $_);
	}
	# The names that a run has read already are those of before.
	sql(q{INSERT INTO raw VALUES ('2026-01-01 01:10+00', 1)});
	$ddl->query_safe("BEGIN; LOCK TABLE raw");
	my $run = trigger($node, 'postgres', 'fills');
	wait_for_table($run);
	$ddl->query_safe("ALTER TABLE raw RENAME TO renamed; COMMIT");
	is_run($run, 'failed', qr/^42P01 relation "public.raw" does not exist$/, 'RENAME');
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'RENAME: the next run');
	sql(q{ALTER TABLE renamed RENAME COLUMN at TO moment});
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'a renamed time column');
	is(sql(q{SELECT sum(n) || ' ' || (SELECT count(*) FROM aggjobs_verify('kept')) FROM kept}), '4 0', 'the rollup is right');
	like((sqlstate_of($node, 'postgres', 'ALTER TABLE renamed ALTER COLUMN moment TYPE text;'))[1], qr/cannot alter type of a column used/, 'the server refuses another type');
	$ddl->quit;
};

subtest 'ALTER TABLE target while a run waits' => sub {
	my $ddl = session();

	sql(q{INSERT INTO renamed (moment, w) VALUES ('2026-01-01 02:10+00', 1)});
	$ddl->query_safe("BEGIN; LOCK TABLE kept");
	my $run = trigger($node, 'postgres', 'fills');
	wait_for_table($run);
	$ddl->query_safe("ALTER TABLE kept RENAME TO kept_elsewhere; COMMIT");
	is_run($run, 'failed', qr/^42P01 relation "public.kept" does not exist$/, 'RENAME');
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'RENAME: the next run');
	# A condition that no row fulfils: each run fails with the server's words until it goes.
	sql(q{INSERT INTO renamed (moment, w) VALUES ('2026-01-01 03:10+00', 1)});
	$ddl->query_safe("BEGIN; LOCK TABLE kept_elsewhere");
	$run = trigger($node, 'postgres', 'fills');
	wait_for_table($run);
	$ddl->query_safe("ALTER TABLE kept_elsewhere ADD CONSTRAINT none CHECK (n < 0) NOT VALID; COMMIT");
	is_run($run, 'failed', qr/^23514 .*"none"/, 'ADD CHECK');
	sql(q{ALTER TABLE kept_elsewhere DROP CONSTRAINT none});
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'without it again');
	is(sql(q{SELECT sum(n) || ' ' || (SELECT count(*) FROM aggjobs_verify('kept')) FROM kept_elsewhere}), '6 0', 'the rollup is right');
	$ddl->quit;
	sql(q{SELECT aggjobs_drop_job('fills'), aggjobs_drop_rollup('kept')}, q{DROP TABLE renamed});
};

subtest 'a column that a retention step needs' => sub {
	sql(q{CREATE TABLE old (at timestamptz)}, q{INSERT INTO old VALUES ('2000-01-01')});
	make_job('retires', '[{"kind": "retention", "table": "public.old", "column": "at", "keep": "1 day"}]');
	sql(q{ALTER TABLE old RENAME COLUMN at TO moment});
	is_run(trigger($node, 'postgres', 'retires'), 'failed', qr/^42703 .*"?at"?/, 'is gone');
	sql(q{ALTER TABLE old RENAME COLUMN moment TO at});
	is_run(trigger($node, 'postgres', 'retires'), 'succeeded', undef, 'is back');
	is(sql(q{SELECT count(*) FROM old}), 0, 'the rows went');
	sql(q{SELECT aggjobs_drop_job('retires')}, q{DROP TABLE old});
};

subtest 'delete, alter and pause a running job' => sub {
	sql(q{CREATE TABLE did (what text)});
	sql(qq{SELECT aggjobs_create_job('long', NULL, jsonb_build_array(
		jsonb_build_object('kind', 'command', 'command', '$WAIT'),
		jsonb_build_object('kind', 'command', 'command', 'INSERT INTO did VALUES (''as it was'')')))});
	for (
		[ 'pause', q{SELECT aggjobs_pause('long')} ],
		[ 'alter', q{SELECT aggjobs_alter_job('long', command => 'INSERT INTO did VALUES (''as it is'')')} ],
		[ 'rename', q{SELECT aggjobs_alter_job('long', new_name => 'longer', steps => (SELECT steps FROM aggjobs.jobs WHERE job_name = 'long'))} ],
		[ 'drop', q{SELECT aggjobs_drop_job('longer')} ])
	{
		my ($what, $change) = @$_;
		my $name = $what eq 'drop' ? 'longer' : 'long';

		sql(qq{SELECT aggjobs_alter_job('$name', steps => jsonb_build_array(
			jsonb_build_object('kind', 'command', 'command', '$WAIT'),
			jsonb_build_object('kind', 'command', 'command', 'INSERT INTO did VALUES (''as it was'')')))});
		hold();
		my $run = trigger($node, 'postgres', $name);
		wait_in_command($node, 'postgres', $run);
		my ($error, $said) = sqlstate_of($node, 'postgres', "SET statement_timeout = '10s';\n$change;");
		is($error, '', "$what: returns at once");
		is(run_field($node, 'postgres', $run, 'status'), 'running', "$what: the run goes on");
		let_go();
		is_run($run, 'succeeded', undef, $what);
		is(sql(q{DELETE FROM did RETURNING what}), 'as it was', "$what: as it was when it started");
	}
	is(sql(q{SELECT count(*) FROM aggjobs.jobs WHERE job_name ~ '^long'}), 0, 'dropped');
	is(sql(q{SELECT count(*) FROM aggjobs.runs WHERE job_name ~ '^long'}), 4, 'its history stays');
	sql(q{DROP TABLE did});
};

subtest 'lock timeout and deadlock with users' => sub {
	my $since = now();

	sql(q{CREATE TABLE one (v int)}, q{CREATE TABLE two (v int)}, q{INSERT INTO one VALUES (1)}, q{INSERT INTO two VALUES (1)});
	add_job($node, 'postgres', 'patient', undef, 'UPDATE one SET v = 2',
		settings => q{'{"lock_timeout": "200ms"}'}, retries => 0);
	my $user = session();
	$user->query_safe('BEGIN; UPDATE one SET v = 3');
	is_run(trigger($node, 'postgres', 'patient'), 'failed', qr/^55P03 /, 'lock timeout');
	is($user->query_safe('SELECT v FROM one'), 3, 'the user goes on');
	$user->query_safe('ROLLBACK');
	is_run(trigger($node, 'postgres', 'patient'), 'succeeded', undef, 'then');

	$user->query_safe(q{BEGIN; UPDATE one SET v = 3});
	add_job($node, 'postgres', 'crosses', undef, "UPDATE two SET v = 2; SELECT pg_notify('x', ''); UPDATE one SET v = 2", retries => 0);
	my $run = trigger($node, 'postgres', 'crosses');
	wait_for($node, 'postgres', qq{
		SELECT EXISTS (SELECT FROM aggjobs.workers WHERE run_id = $run AND cardinality(blocked_by) = 1)}, 'the job waits for the user');
	$user->query_until(qr/crossing/, "\\echo crossing\nUPDATE two SET v = 3;\n");
	is_run($run, 'failed', qr/^40P01 deadlock detected$/, 'deadlock');
	is($user->query_safe('COMMIT; SELECT one.v || two.v::text FROM one, two'), '33', 'the user goes on');
	is_run(trigger($node, 'postgres', 'crosses'), 'succeeded', undef, 'then');
	$user->quit;
	sql(q{SELECT aggjobs_drop_job('patient'), aggjobs_drop_job('crosses')}, q{DROP TABLE one, two});
	clock_goes_on($since);
};

subtest 'a rollup over one that somebody else refreshes' => sub {
	my $since = now();

	sql(q{CREATE TABLE fact (at timestamptz NOT NULL, v int)},
		q{INSERT INTO fact SELECT '2025-03-01 UTC'::timestamptz + g * interval '20 minutes', g FROM generate_series(1, 200) AS g},
		q{SELECT aggjobs_create_rollup('hours', $$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(v) AS v FROM fact GROUP BY 1$$)},
		q{SELECT aggjobs_create_rollup('days', $$SELECT date_trunc('day', bucket, 'UTC') AS bucket, sum(v) AS v FROM hours GROUP BY 1$$)},
		q{CALL aggjobs_refresh('days')},
		q{UPDATE fact SET v = v + 1});
	add_job($node, 'postgres', 'impatient', undef, q{CALL aggjobs_refresh('days')}, settings => q{'{"lock_timeout": "200ms"}'},
		retries => 0);
	my $user = session();
	$user->query_safe(q{BEGIN; CALL aggjobs_refresh('hours')});
	my $run = trigger($node, 'postgres', 'impatient');
	is_run($run, 'failed', qr/^55P03 /, 'after its limit');
	like(run_field($node, 'postgres', $run, 'context'),
		qr/^taking in the changes of table fact, which waits for another refresh of a rollup over it$/m, 'it says for what it waited');
	add_job($node, 'postgres', 'patient', undef, q{CALL aggjobs_refresh('days')});
	$run = trigger($node, 'postgres', 'patient');
	wait_for($node, 'postgres', qq{
		SELECT EXISTS (SELECT FROM aggjobs.workers WHERE run_id = $run AND cardinality(blocked_by) = 1)}, 'another waits');
	$user->query_safe('COMMIT');
	is_run($run, 'succeeded', undef, 'when the other is over');
	is(sql(q{SELECT count(*) FROM (TABLE days EXCEPT SELECT date_trunc('day', at, 'UTC'), sum(v) FROM fact GROUP BY 1) AS d}),
		0, 'it has computed from all of it');

	# one that holds the rollup below, with nothing to take in
	sql(q{ALTER SYSTEM SET aggjobs.test_rollup_wait = '200ms'}, q{SELECT pg_reload_conf()});
	$user->query_safe(q{BEGIN; CALL aggjobs_refresh('hours', '2025-03-01 UTC')});
	add_job($node, 'postgres', 'waits', undef, q{CALL aggjobs_refresh('days', '2025-03-01 UTC')}, retries => 0);
	$run = trigger($node, 'postgres', 'waits');
	is_run($run, 'failed', qr/^55P03 /, 'a rollup is not waited for without end');
	like(run_field($node, 'postgres', $run, 'context'),
		qr/^waiting for rollup "hours", which another refresh, a backfill or retention works on$/m, 'and it says which');
	$user->query_safe('COMMIT');
	sql(q{ALTER SYSTEM RESET aggjobs.test_rollup_wait}, q{SELECT pg_reload_conf()});
	$run = trigger($node, 'postgres', 'waits');
	is_run($run, 'succeeded', undef, 'once it is free, it is refreshed');
	sql(q{SELECT aggjobs_drop_job('waits')});
	$user->quit;
	sql(q{SELECT aggjobs_drop_job('patient'), aggjobs_drop_job('impatient')},
		q{SELECT aggjobs_drop_rollup('days')}, q{SELECT aggjobs_drop_rollup('hours')}, q{DROP TABLE fact});
	clock_goes_on($since);
};

# A row that no function would write, in the place of a good one: what its run
# says, if it has one.
my %bad_rows = (
	'a schedule that is none' => [ q{schedule = E'nonsense\n'}, undef ],
	'a schedule of a megabyte' => [ q{schedule = repeat('* ', 500000)}, undef ],
	'a schedule with a setting that is none' => [ q(schedule = '${NO SUCH'), undef ],
	'a time zone that is none' => [ q{time_zone = repeat('Mars/', 1000)}, undef ],
	'no time zone' => [ q{time_zone = ''}, undef ],
	'no steps' => [ q{steps = '[]'}, qr/^22023 job .* has no steps$/ ],
	'steps that are an object' => [ q{steps = '{}'}, qr/has no steps$/ ],
	'steps that are a filled object' => [ q{steps = '{"kind": "health"}'}, qr/./ ],
	'steps that are null' => [ q{steps = 'null'}, qr/^22023 a step must be a JSON object/ ],
	'a step that is a list' => [ q{steps = '[[1]]'}, qr/^22023 a step must be a JSON object/ ],
	'a step of no kind' => [ q{steps = '[{"kind": 1}]'}, qr/^22023 unknown kind of step "1"$/ ],
	'a command that is an object' => [ q{steps = '[{"kind": "command", "command": {"a": 1}}]'}, qr/^42601 / ],
	'settings that are a list' => [ q{settings = '[1, 2]'}, undef ],
	'a setting that is none' => [ q{settings = '{"no_such": 1}'}, qr/^42704 unrecognized configuration parameter/ ],
	'no owner' => [ q{owner = 0}, qr/^42501 .*owner/ ],
	'an owner that is not there' => [ q{owner = 4000000000}, qr/^42501 role ".*", the owner of the job, does not exist$/ ],
	'an owner of no name' => [ q{owner_name = ''}, qr/^42501 the owner of the job was role ""/ ],
	'a long timeout' => [ q{timeout = '178000000 years'}, qr/^22008 timestamp out of range/ ],
	'a negative timeout' => [ q{timeout = '-178000000 years'}, qr/^22008 timestamp out of range/ ],
	'a timeout that is over' => [ q{timeout = '-1 second'}, qr/over the time limit|57014/ ],
	'a long keep_age' => [ q{keep_age = '178000000 years'}, undef ],
	'a negative keep_age' => [ q{keep_age = '-178000000 years'}, undef ],
	'a negative memory limit' => [ q{memory_limit = -1}, undef ],
	'a great memory limit' => [ q{memory_limit = 9223372036854775807}, undef ],
);
my %bad_slots = (
	'-infinity' => '-infinity', 'infinity' => 'infinity',
	'the beginning of time' => '4714-11-24 00:00:00+00 BC', 'the end of time' => '294276-12-31 23:59:59+00');

subtest 'rows of aggjobs.job that hold nonsense' => sub {
	my $since = now();
	my %runs;
	my $log = -s $node->logfile;

	for my $what (sort keys %bad_rows)
	{
		my ($set, $error) = @{ $bad_rows{$what} };
		add_job($node, 'postgres', $what, undef, 'SELECT 1');
		sql(qq{UPDATE aggjobs.job SET schedule = 'every 1 second' WHERE job_name = '$what'},
			qq{UPDATE aggjobs.job SET $set WHERE job_name = '$what'});
		$runs{$what} = trigger($node, 'postgres', $what);
	}
	for my $slot (sort keys %bad_slots)
	{
		for my $schedule ('every 1 second', '* * * * *', 'after 1 second', '@start', 'at 2030-01-01 00:00')
		{
			add_job($node, 'postgres', "$schedule $slot", $schedule, 'SELECT 1');
			sql(qq{UPDATE aggjobs.job_state SET next_slot = '$bad_slots{$slot}'
				WHERE job_id = (SELECT job_id FROM aggjobs.jobs WHERE job_name = '$schedule $slot')});
		}
	}
	# Runs whose job and owner are nobody's.
	my $lost = sql(q{INSERT INTO aggjobs.run (job_id, job_name, owner, status, trigger, queued_at)
		VALUES (-1, E'lost\njob', 0, 'queued', 'manual', now()), (-2, 'lost', 4000000000, 'queued', 'manual', now()) RETURNING run_id});
	# Have all of it read.
	my $scheduler = scheduler_pid($node, 'postgres');
	sql(qq{SELECT pg_terminate_backend($scheduler, 10000)});
	wait_for($node, 'postgres', qq{
		SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_aggjobs scheduler'
			AND datname = 'postgres' AND pid <> $scheduler)});
	my $again = now();
	clock_goes_on($again);

	for my $what (sort keys %bad_rows)
	{
		my ($set, $error) = @{ $bad_rows{$what} };
		if (defined $error)
		{
			isnt(wait_for_end($node, 'postgres', $runs{$what}), 'succeeded', "$what: the run does not succeed");
			like(run_field($node, 'postgres', $runs{$what}, q{concat_ws(' ', sqlstate, error, note)}), $error, "$what: the reason");
		}
		else
		{
			is(wait_for_end($node, 'postgres', $runs{$what}), 'succeeded', "$what: runs by hand");
		}
	}
	wait_for($node, 'postgres', "SELECT bool_and(status NOT IN ('queued', 'running')) FROM aggjobs.runs WHERE run_id IN ("
		  . join(',', split /\n/, $lost) . ')', 'lost runs end');
	is(sql(q{SELECT string_agg(DISTINCT status, ',') FROM aggjobs.runs WHERE job_name ~ '^lost'}), 'failed', 'runs of nobody fail');

	is(sql(q{SELECT string_agg(DISTINCT state, ',') FROM aggjobs.jobs
			WHERE schedule !~ '^(every|after|at|@start|\*)' OR time_zone <> 'UTC'}),
		'unplanned', 'what can not be planned is seen as such');
	is(sql(q{SELECT count(*) FROM aggjobs.jobs WHERE failures_in_a_row > 0}) > 5, 1, 'what fails is counted');
	like(sql(q{SELECT detail FROM aggjobs.health WHERE check_name = 'owners'}), qr/^3 jobs .*an owner of no name .*an owner that is not there .*no owner/, 'health names the owners');
	is(sql(q{SELECT count(*) > 5 FROM aggjobs.health}), 't', 'health can be read');
	is(sql(q{SELECT count(*) > 20 FROM aggjobs.job_stats}), 't', 'figures can be read');
	is(sql(q{SELECT count(*) > 20 FROM aggjobs_status()}), 't', 'status can be read');
	is(sql(q{SELECT count(*) FROM aggjobs.runs WHERE status = 'running' AND job_name <> 'clock'
		AND started_at < now() - interval '1 minute'}), 0, 'no run is left running');

	# Nothing of it reached the log with its control characters or at length.
	my $text = slurp_file($node->logfile, $log);
	like($text, qr/job \d+ is not scheduled: schedule "nonsense\?" in time zone "UTC" can't be read/, 'the log says what is not planned');
	is((grep { /pg_aggjobs|is not scheduled/ && length > 1000 } split /\n/, $text), 0, 'in short lines');
	unlike($text, qr/PANIC|terminated by signal|TRAP/, 'no process crashed');

	# One bad age does not keep the history of others.
	sql(q{INSERT INTO aggjobs.run (job_id, job_name, owner, status, trigger, queued_at, ended_at)
		SELECT job_id, job_name, owner, 'succeeded', 'manual', now(), '2000-01-01' FROM aggjobs.job WHERE job_name = 'clock'});
	$scheduler = scheduler_pid($node, 'postgres');
	sql(qq{SELECT pg_terminate_backend($scheduler, 10000)});
	wait_for($node, 'postgres', q{SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'clock' AND ended_at < '2001-01-01')}, 'old runs go');
	pass('the history of others is pruned');
	is(sql(q{SELECT count(*) FROM (SELECT aggjobs_drop_job(job_name) FROM aggjobs.jobs WHERE job_name <> 'clock') d}) > 30, 1, 'all can be dropped');
	clock_goes_on($since = now());
};

leave($holder);
$node->stop;
done_testing();
