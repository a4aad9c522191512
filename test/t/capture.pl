# Whatever is written to the raw tables of the pipeline, and however, is in the
# figures after the next refresh; what was computed outlives its raw rows; and
# none of it is lost by dump and restore, nor the scheduler by odd endings of
# CREATE and DROP EXTENSION.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @LEVELS = ('hourly', 'daily', 'weekly', 'monthly');

my $node = new_node('capture');
$node->start;
$node->safe_psql('postgres', q{
	BEGIN;
	CREATE EXTENSION pg_aggjobs;
	SELECT aggjobs_pause(NULL);
	COMMIT});
wait_for_scheduler($node, 'postgres');

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# Statements that refresh these levels; each CALL must stand alone to commit.
sub calls
{
	my (@jobs) = @_;
	return join "\n", 'SET client_min_messages = warning;',
	  map { "CALL aggjobs_run('$_');" } @jobs;
}

sub refresh
{
	my ($database, @jobs) = @_;
	$node->safe_psql($database, calls(@jobs ? @jobs : ('hourly', 'daily')));
	return;
}

# Where the executions of hourly_analytics and daily_analytics are not those of
# the raw rows: '' if nowhere.
sub differences
{
	my ($database) = @_;

	return $node->safe_psql($database // 'postgres', q{
		WITH raw AS (
			SELECT unit, date_bin(('1 ' || unit)::interval, started_at, '2001-01-01 00:00+00') AS bucket,
				count(*) AS executions
			FROM aggjobs.execution_spans, unnest(ARRAY['hour', 'day']) AS unit
			WHERE started_at < date_trunc(unit, clock_timestamp(), 'UTC')
			GROUP BY 1, 2),
		figures AS (
			SELECT 'hour' AS unit, bucket, sum(executions)::bigint AS executions
			FROM aggjobs.hourly_analytics GROUP BY 1, 2
			UNION ALL
			SELECT 'day', bucket, sum(executions)::bigint
			FROM aggjobs.daily_analytics GROUP BY 1, 2)
		SELECT string_agg(concat_ws(' ', what, unit, bucket, executions), ', ')
		FROM (
			SELECT 'missing' AS what, * FROM (SELECT * FROM raw EXCEPT SELECT * FROM figures) AS m
			UNION ALL
			SELECT 'wrong', * FROM (SELECT * FROM figures EXCEPT SELECT * FROM raw) AS w) AS d});
}

# "rows('2025-01-01 10:00+00', 3)": so many executions, a minute apart.
sub rows
{
	my ($from, $n) = @_;
	return q{INSERT INTO aggjobs.execution_spans (workspace_id, span_type, status, started_at)
		SELECT 'w', 'agent_run', 'ok', '} . $from
	  . "'::timestamptz + i * interval '1 minute' FROM generate_series(0, @{[ $n - 1 ]}) AS i";
}

# What was written makes a difference, and the next refresh makes it go.
sub is_noted
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	isnt(differences(), '', "$what: not in the figures at once");
	refresh('postgres');
	is(differences(), '', "$what: in the figures after a refresh");
	return;
}

subtest 'every way of writing' => sub {
	my @ways = (
		[ 'INSERT', rows('2025-03-01 10:30+00', 120) ],
		[ 'INSERT into an old hour', rows('2024-12-31 23:59+00', 2) ],
		[ 'INSERT long ago', rows('0001-01-01 00:00+00', 1) ],
		[ 'COPY', join "\n",
			'COPY aggjobs.execution_spans (span_id, span_type, status, started_at) FROM stdin;',
			(map { join "\t", 100000 + $_, 'workflow_run', 'failed', "2025-03-02 1$_:00+00" } 0 .. 5),
			"\\.\n" ],
		[ 'UPDATE within an hour', q{
			UPDATE aggjobs.execution_spans SET started_at = '2025-03-05 00:00+00'
			WHERE span_id = 100000} ],
		[ 'UPDATE to another hour', q{
			UPDATE aggjobs.execution_spans SET started_at = started_at + interval '30 hours'
			WHERE started_at >= '2025-03-01 11:00+00' AND started_at < '2025-03-01 11:30+00'} ],
		[ 'DELETE', q{
			DELETE FROM aggjobs.execution_spans
			WHERE started_at >= '2025-03-01 10:30+00' AND started_at < '2025-03-01 10:40+00'} ],
		[ 'DELETE of a whole day', q{
			DELETE FROM aggjobs.execution_spans WHERE started_at < '2024-12-31 24:00+00'} ],
		[ 'MERGE', q{
			MERGE INTO aggjobs.execution_spans AS s
			USING (VALUES (100001), (100002), (200001)) AS v (id) ON s.span_id = v.id
			WHEN MATCHED AND v.id = 100001 THEN DELETE
			WHEN MATCHED THEN UPDATE SET started_at = '2025-04-01 10:00+00'
			WHEN NOT MATCHED THEN INSERT (span_id, span_type, status, started_at)
				VALUES (v.id, 'agent_run', 'ok', '2025-04-02 10:00+00')} ],
		[ 'ON CONFLICT', q{
			INSERT INTO aggjobs.execution_spans (span_id, span_type, status, started_at)
			VALUES (200001, 'agent_run', 'ok', '2025-04-03 10:00+00')
			ON CONFLICT (span_id) DO UPDATE SET started_at = excluded.started_at} ],
		[ 'savepoints', q{BEGIN; } . rows('2025-05-01 10:00+00', 1) . q{;
			SAVEPOINT s; } . rows('2025-05-01 11:00+00', 1) . q{;
			ROLLBACK TO s; } . rows('2025-05-01 12:00+00', 1) . q{;
			SAVEPOINT s; } . rows('2025-05-02 12:00+00', 1) . q{;
			RELEASE s; COMMIT} ],
		[ 'a caught error', q{
			DO $do$ BEGIN
				BEGIN } . rows('2025-05-01 13:00+00', 1) . q{; PERFORM 1 / 0;
				EXCEPTION WHEN division_by_zero THEN } . rows('2025-05-01 13:00+00', 1) . q{;
				END;
			END $do$} ],
		[ 'session_replication_role = replica',
			q{SET session_replication_role = replica; } . rows('2025-06-01 10:00+00', 1) ],
		[ 'SET TRANSACTION READ ONLY afterwards',
			q{BEGIN; } . rows('2025-06-01 11:00+00', 1) . q{; SET TRANSACTION READ ONLY; COMMIT} ],
		[ 'SERIALIZABLE',
			q{BEGIN ISOLATION LEVEL SERIALIZABLE; } . rows('2025-06-01 12:00+00', 1) . q{; COMMIT} ],
		[ 'CREATE TABLE AS with a data-modifying CTE',
			q{WITH i AS (} . rows('2025-06-01 13:00+00', 1) . q{ RETURNING 1) SELECT * FROM i} ],
		[ 'very many hours', q{
			INSERT INTO aggjobs.execution_spans (span_type, status, started_at)
			SELECT 'agent_run', 'ok', '2020-01-01 00:00+00'::timestamptz + i * interval '3 hours'
			FROM generate_series(1, 10100) AS i} ],
		[ 'TRUNCATE and INSERT',
			q{BEGIN; TRUNCATE aggjobs.execution_spans; } . rows('2025-07-01 10:00+00', 1) . q{; COMMIT} ]);

	for my $way (@ways)
	{
		my ($what, $write) = @$way;
		sql($write);
		is_noted($what);
	}
	is(sql('SELECT sum(executions) FROM aggjobs.hourly_analytics'),
		1, 'nothing else is left');
};

subtest 'a prepared transaction' => sub {
	my $prepare = 'BEGIN; ' . rows('2025-07-02 10:00+00', 1) . q{; PREPARE TRANSACTION 'p'};

	sql($prepare);
	refresh('postgres');
	is(differences(), '', 'is not seen while it is prepared');
	sql(q{COMMIT PREPARED 'p'});
	is_noted('COMMIT PREPARED');
	sql($prepare);
	sql(q{ROLLBACK PREPARED 'p'});
	refresh('postgres');
	is(differences(), '', 'nor after ROLLBACK PREPARED');
};

subtest 'a row that is committed during a refresh' => sub {
	for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
	{
		my $session = $node->background_psql('postgres');

		sql(rows('2025-07-03 10:00+00', 1));
		$session->query_safe("SET client_min_messages = warning; BEGIN ISOLATION LEVEL $level");
		$session->query_safe(q{CALL aggjobs_run('hourly')});
		# One in the hour that is being computed, one in another.
		sql(rows('2025-07-03 10:30+00', 1));
		sql(rows('2025-07-03 12:30+00', 1));
		$session->query_safe(q{CALL aggjobs_run('daily')});
		$session->query_safe('COMMIT');
		$session->quit;
		sql(rows('2025-07-03 13:30+00', 1));
		is_noted("refresh in $level");
	}
};

subtest 'a transaction that is open during a refresh' => sub {
	my $session = $node->background_psql('postgres');

	$session->query_safe('BEGIN; ' . rows('2025-07-04 10:00+00', 2));
	refresh('postgres');
	is(differences(), '', 'is not in the figures');
	$session->query_safe('COMMIT');
	$session->quit;
	is_noted('committed');
};

subtest 'times that no bucket can hold' => sub {
	for my $time ('294276-12-31 23:59:59+00', '10000-01-01 00:00+00',
		'4714-11-24 00:00+00 BC', '0001-12-31 23:59+00 BC', 'infinity', '-infinity')
	{
		is((sqlstate_of($node, 'postgres', rows($time, 1)))[0],
			'23514', "$time is refused as the start of a span");
		is( (sqlstate_of($node, 'postgres', qq{
				INSERT INTO aggjobs.user_activity_events (event_type, occurred_at)
				VALUES ('login', '$time')}))[0],
			'23514', 'and as the time of an event');
	}
	sql(rows('9999-12-31 23:59+00', 1));
	sql(q{INSERT INTO aggjobs.user_activity_events (event_type, occurred_at)
		VALUES ('login', '9999-12-31 23:59+00'), ('login', '0001-01-01 00:00+00')});
	refresh('postgres', @LEVELS);
	is(differences(), '', 'the jobs go on, also with what is just allowed');
	sql(q{DELETE FROM aggjobs.execution_spans WHERE started_at > now()});
};

# Every figure of these tables, to see whether any has changed.
sub figures
{
	my ($database, @tables) = @_;
	return join "\n", map {
		$node->safe_psql($database,
			"SET timezone = 'UTC'; SELECT '$_', t FROM aggjobs.$_ AS t ORDER BY t::text")
	} @tables;
}

# The start of the UTC day so many days ago, and some hours.
sub days_ago
{
	my ($days, $hours) = @_;
	return sql("SELECT date_trunc('day', now(), 'UTC') - interval '@{[ 24 * $days ]} hours'"
		  . " + interval '@{[ $hours // 0 ]} hours'");
}

my @COARSE = map { "${_}_analytics" } 'weekly', 'monthly';

subtest 'retention' => sub {
	# So that the pipeline has nothing older.
	sql('TRUNCATE aggjobs.execution_spans, aggjobs.user_activity_events');
	sql(rows(days_ago($_, 13), 3)) for 400, 300, 250, 205, 203, 202, 195, 100, 91, 90, 89, 88, 10, 2;
	refresh('postgres', @LEVELS);
	is(differences(), '', 'all is computed');
	my $before = figures('postgres', 'hourly_analytics', 'daily_analytics', @COARSE);

	sql(q{SELECT aggjobs_set('retention.execution_spans', '95 days')});
	refresh('postgres', 'cleanup');
	is(sql('SELECT min(started_at) FROM aggjobs.execution_spans'),
		days_ago(91, 13), 'old rows go');
	# The default keeps hourly figures for 180 days.
	is(sql('SELECT min(bucket) FROM aggjobs.hourly_analytics'),
		days_ago(100, 13), 'and hourly figures later');
	refresh('postgres', @LEVELS);
	is( figures('postgres', 'daily_analytics', @COARSE),
		$before =~ s/^hourly_analytics\|.*\n//mgr,
		'figures above them stay what they were');

	sql(q{SELECT aggjobs_set('retention.daily_analytics', '200 days')});
	refresh('postgres', 'cleanup');
	isnt(sql('SELECT min(bucket) FROM aggjobs.daily_analytics'),
		days_ago(400), 'daily figures can go, too');
	refresh('postgres', @LEVELS);
	is(figures('postgres', @COARSE),
		$before =~ s/^(hourly|daily)_analytics\|.*\n//mgr,
		'weeks and months stay what they were');

	is( sql(q{
			SELECT string_agg(rollup_name, ' ' ORDER BY rollup_name) FROM aggjobs.rollups
			WHERE frozen_before = date_trunc(bucket, frozen_before, time_zone)}),
		'credit_consumption_hourly daily_analytics hourly_analytics model_usage_stats'
		  . ' monthly_analytics user_activity_hourly weekly_analytics',
		'the frozen line is the boundary of a bucket of each rollup');

	my $kept = figures('postgres', 'hourly_analytics', 'daily_analytics', @COARSE);
	sql(rows($_, 1))
	  for '0001-01-01 00:00+00', map { days_ago($_, 14) } 400, 300, 205, 202, 195, 100, 96;
	refresh('postgres', @LEVELS);
	is(figures('postgres', 'hourly_analytics', 'daily_analytics', @COARSE),
		$kept, 'late rows below it change nothing, and no job fails');
	sql(rows(days_ago(89, 15), 1));
	refresh('postgres', @LEVELS);
	is( sql(q{SELECT sum(executions) FROM aggjobs.daily_analytics WHERE bucket = '}
			  . days_ago(89) . q{'}),
		4, 'a late row above it is computed');

	# Of the week and month of 100 days ago only the daily figures are there.
	for my $case ([ 'hourly', 100, '55000' ], [ 'daily', 300, '55000' ],
		[ 'weekly', 300, '55000' ], [ 'monthly', 300, '55000' ], [ 'hourly', 89, '' ],
		[ 'daily', 89, '' ], [ 'weekly', 100, '' ], [ 'monthly', 100, '' ])
	{
		my ($job, $days, $state) = @$case;
		is( (sqlstate_of($node, 'postgres',
				"CALL aggjobs_run('$job', at => '" . days_ago($days, 13) . q{')}))[0],
			$state, "$job of $days days ago " . ($state ? 'is refused' : 'can be computed'));
	}
	refresh('postgres', @LEVELS);
	for my $table (@COARSE)
	{
		is( sql("SELECT sum(executions) FROM aggjobs.$table WHERE bucket < '"
				  . days_ago(60) . q{'}),
			12 * 3 + 1, "$table: nothing was lost or counted twice");
	}
};

subtest 'retention that fails' => sub {
	# One step for one table, so that none after it puts anything right.
	sql(q{SELECT aggjobs_create_job('retire', NULL, '[{"kind": "retention",
		"table": "aggjobs.execution_spans", "column": "started_at", "keep": "95 days"}]')});
	# It is to remove something that cannot go.
	sql(qq{
		CREATE TABLE bookmark (span_id bigint REFERENCES aggjobs.execution_spans);
		INSERT INTO bookmark SELECT span_id FROM aggjobs.execution_spans
		ORDER BY started_at LIMIT 1});
	my (undef, undef, $err) = $node->psql('postgres', qq{
		\\set VERBOSITY verbose
		BEGIN;
		SAVEPOINT s;
		CALL aggjobs_run('retire');
		ROLLBACK TO s;
		} . rows(days_ago(20, 5), 1) . q{;
		DELETE FROM aggjobs.execution_spans WHERE started_at = '} . days_ago(10, 13) . q{';
		COMMIT},
		on_error_stop => 0);
	like($err, qr/ERROR:  23503:/, 'it fails');
	refresh('postgres');
	is( sql(q{SELECT string_agg(executions::text, ' ' ORDER BY bucket) FROM aggjobs.hourly_analytics WHERE bucket IN ('}
			  . days_ago(20, 5) . q{', '} . days_ago(10, 13) . q{')}),
		'1 2', 'what the same transaction writes later is noted');
	sql('DROP TABLE bookmark');
	refresh('postgres', 'cleanup', @LEVELS);
};

subtest 'dump and restore' => sub {
	my $dump = "$PostgreSQL::Test::Utils::tmp_check/capture.sql";
	my $states = q{
		SET timezone = 'UTC';
		SELECT rollup_name, horizon, frozen_before, from_time, to_time
		FROM aggjobs.rollup_state
		LEFT JOIN (aggjobs.stale JOIN aggjobs.rollup USING (rollup_id)) USING (rollup_name)
		ORDER BY 1, 4, 5};
	my @tables = (
		'execution_spans', 'user_activity_events', 'model_pricing',
		'hourly_analytics', 'daily_analytics', @COARSE,
		'model_usage_stats', 'user_activity_hourly', 'credit_consumption_hourly');

	add_job($node, 'postgres', 'of a user', 'every 1 second',
		'SELECT 1', settings => q{'{"work_mem": "7MB"}'});
	sql(q{INSERT INTO aggjobs.model_pricing (provider, model) VALUES ('p', 'm')});
	# Weeks and months that are still to be computed when the dump is taken.
	sql(rows(days_ago(40, 13), 1));
	refresh('postgres');
	my ($wanted, $wanted_states) = (figures('postgres', @tables), sql($states));

	$node->command_ok([ 'pg_dump', '--no-sync', '-f', $dump, 'postgres' ], 'pg_dump');
	sql('CREATE DATABASE restored TEMPLATE template0');
	$node->command_ok(
		[ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-o', "$dump.out", '-f', $dump, 'restored' ],
		'psql');
	# A built-in job may have begun already; its end is waited for.
	$node->safe_psql('restored', 
		q{SELECT aggjobs_pause(job_name) FROM aggjobs.jobs WHERE state <> 'copied'});
	wait_for($node, 'restored', q{
		SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE status IN ('queued', 'running'))});

	is(figures('restored', @tables), $wanted, 'the tables of the pipeline are equal');
	is($node->safe_psql('restored', $states), $wanted_states,
		'horizons, frozen lines and what is to be computed come back');
	is( $node->safe_psql('restored', q{
			SELECT state, schedule, settings FROM aggjobs.jobs WHERE job_name = 'of a user'}),
		'copied|every 1 second|{"work_mem": "7MB"}', 'jobs of users come back, to be resumed');
	is( $node->safe_psql('restored', q{
			SELECT value, builtin FROM aggjobs.settings WHERE name = 'retention.execution_spans'}),
		'95 days|f', 'so do settings');

	refresh($_, @LEVELS) for 'postgres', 'restored';
	isnt(figures('postgres', @tables), $wanted, 'a refresh goes on');
	is(figures('restored', @tables), figures('postgres', @tables), 'equally');
	$node->safe_psql('restored', rows(days_ago(50, 1), 1));
	refresh('restored', @LEVELS);
	is( $node->safe_psql('restored', q{SELECT executions FROM aggjobs.hourly_analytics WHERE bucket = '}
			  . days_ago(50, 1) . q{'}),
		1, 'and what is written there is noted');
	$node->safe_psql('restored', q{SELECT aggjobs_resume('of a user')});
	wait_for($node, 'restored', q{
		SELECT EXISTS (SELECT FROM aggjobs.runs
			WHERE job_name = 'of a user' AND status = 'succeeded')});
	pass('the resumed job runs');
	$node->safe_psql('postgres', 'DROP DATABASE restored');
	sql(q{SELECT aggjobs_drop_job('of a user')});
};

subtest 'DROP EXTENSION in a savepoint' => sub {
	sql('BEGIN; SAVEPOINT s; DROP EXTENSION pg_aggjobs; ROLLBACK TO s; COMMIT');
	wait_for_scheduler($node, 'postgres');
	add_job($node, 'postgres', 'short', undef, 'SELECT 1');
	is((run_to_end($node, 'postgres', 'short'))[1],
		'succeeded', 'rolled back, jobs go on');
};

subtest 'CREATE EXTENSION in a prepared transaction' => sub {
	sql('CREATE DATABASE prepared');
	$node->safe_psql('prepared', q{
		BEGIN;
		CREATE EXTENSION pg_aggjobs;
		SELECT aggjobs_pause(NULL);
		PREPARE TRANSACTION 'p'});
	is(scheduler_pid($node, 'prepared'), '', 'starts nothing yet');
	$node->safe_psql('prepared', q{COMMIT PREPARED 'p'});
	wait_for_scheduler($node, 'prepared');
	add_job($node, 'prepared', 'short', undef, 'SELECT 1');
	is((run_to_end($node, 'prepared', 'short'))[1],
		'succeeded', 'committed, jobs run');
};

unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/,
	'no process was killed');

$node->stop;
done_testing();
