# Databases that get the extension, lose it, are dropped, renamed, moved and
# copied, all of it while jobs run in them.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# DDL must be done before our own processes would be ended by force.
my $PROMPT = 3;

# At debug1 the log tells of each process that is started and of its end.
my $node = start_node('databases',
	conf => "log_min_messages = debug1\nallow_in_place_tablespaces = on\n");

sub oid_of
{
	my ($database) = @_;
	return $node->safe_psql('postgres',
		"SELECT oid FROM pg_database WHERE datname = '$database'");
}

sub log_since
{
	my ($offset) = @_;
	return slurp_file($node->logfile, $offset);
}

# A job that is in the middle of its command; returns its run and its worker.
sub begin_long_run
{
	my ($database) = @_;
	my $run = trigger($node, $database, 'long');

	return ($run, wait_in_command($node, $database, $run));
}

# The run was interrupted by DDL for this reason, and the next one works.
sub was_interrupted
{
	my ($database, $run, $reason) = @_;

	is( run_field($node, $database, $run, "status || ': ' || note"),
		"cancelled: $reason",
		'the interrupted run is cancelled, with the reason');
	wait_for_scheduler($node, $database);
	is((run_to_end($node, $database, 'short'))[1],
		'succeeded', 'runs go on afterwards');
	return;
}

sub add_jobs
{
	my ($database) = @_;

	# What makes way is tried again (upgrade.pl); here each run is begun by hand.
	add_job($node, $database, 'long', undef, $FOREVER, retries => 0);
	add_job($node, $database, 'short', undef, 'SELECT 1');
	return;
}

subtest 'a database without the extension has no process' => sub {
	my $since = -s $node->logfile;

	$node->safe_psql('postgres', 'CREATE DATABASE plain');
	my $scheduler = 'background worker "pg_aggjobs scheduler for database '
	  . oid_of('plain') . '"';
	$node->wait_for_log(qr/unregistering $scheduler/, $since);
	is(processes_of($node, 'plain'), 0, 'it was looked at once, and left');
};

subtest 'CREATE EXTENSION starts a scheduler when it commits' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	my $scheduler = 'pg_aggjobs scheduler for database ';
	my ($app, $plain) = map { $scheduler . oid_of($_) } 'app', 'plain';
	$node->wait_for_log(qr/unregistering background worker "$app"/);

	my $since = -s $node->logfile;
	my $session = $node->background_psql('app');
	$session->query_safe('BEGIN; CREATE EXTENSION pg_aggjobs');
	$node->safe_psql('plain',
		'BEGIN; CREATE EXTENSION pg_aggjobs; ROLLBACK');
	unlike(log_since($since), qr/registering background worker "$app"/,
		'none is started before the commit');
	$session->query_safe('COMMIT');
	$session->quit;
	wait_for_scheduler($node, 'app');
	unlike(log_since($since), qr/registering background worker "$plain"/,
		'none is started where CREATE EXTENSION was rolled back');
};

subtest 'jobs of two databases run' => sub {
	for my $database ('postgres', 'app')
	{
		add_jobs($database);
		is((run_to_end($node, $database, 'short'))[1],
			'succeeded', "a job runs in $database");
	}
};

subtest 'the attempts of others cancel nothing' => sub {
	$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN CREATEDB');
	my ($run, $worker) = begin_long_run('app');
	my $scheduler = scheduler_pid($node, 'app');
	my @attempts = (
		[ 'app', 'DROP EXTENSION pg_aggjobs' ],
		[ 'app', 'ALTER EXTENSION pg_aggjobs UPDATE' ],
		[ 'postgres', 'DROP DATABASE app' ],
		[ 'postgres', 'ALTER DATABASE app RENAME TO theirs' ],
		[ 'postgres', 'ALTER DATABASE app SET TABLESPACE pg_default' ],
		[ 'postgres', 'CREATE DATABASE theirs TEMPLATE app' ]);

	for my $attempt (@attempts)
	{
		my ($database, $sql) = @$attempt;
		my ($state) = sqlstate_of($node, $database,
			"SET SESSION AUTHORIZATION mallory;\n$sql");
		is($state, '42501', "$sql is refused");
	}
	is(run_field($node, 'app', $run, "status || ' ' || worker_pid"),
		"running $worker", 'the run goes on');
	is(scheduler_pid($node, 'app'), $scheduler, 'so does the scheduler');
	$node->safe_psql('app', "SELECT aggjobs_cancel($run)");
	is(wait_for_end($node, 'app', $run), 'cancelled', 'the run was alive');
};

subtest 'a rolled back DROP EXTENSION only interrupts' => sub {
	my ($run) = begin_long_run('app');
	my $session = $node->background_psql('app');

	cmp_ok(
		seconds_for(
			sub { $session->query_safe('BEGIN; DROP EXTENSION pg_aggjobs') }),
		'<', $PROMPT, 'it is prompt while a job runs');
	is(processes_of($node, 'app'), 0,
		'no process is there while the transaction is open');
	$session->query_safe('ROLLBACK');
	$session->quit;
	was_interrupted('app', $run, 'the extension is being dropped');
};

subtest 'DROP EXTENSION leaves nothing behind' => sub {
	begin_long_run('app');
	cmp_ok(
		seconds_for(
			sub { $node->safe_psql('app', 'DROP EXTENSION pg_aggjobs') }),
		'<', $PROMPT, 'it is prompt while a job runs');
	is(processes_of($node, 'app'), 0, 'no process is left');
	is( $node->safe_psql('app', q{
			SELECT count(*) FROM pg_namespace WHERE nspname = 'aggjobs'}),
		0, 'no schema is left');

	# The launcher deals with this one after it has heard of the other.
	create_extension($node, 'plain');
	is(processes_of($node, 'app'), 0, 'none comes back');
	$node->safe_psql('plain', 'DROP EXTENSION pg_aggjobs');

	create_extension($node, 'app');
	add_jobs('app');
	is((run_to_end($node, 'app', 'short'))[1],
		'succeeded', 'it can be created again');
};

subtest 'ALTER DATABASE RENAME' => sub {
	my ($run) = begin_long_run('app');

	cmp_ok(
		seconds_for(
			sub {
				$node->safe_psql('postgres',
					'ALTER DATABASE app RENAME TO renamed');
			}),
		'<', $PROMPT, 'it is prompt while a job runs');
	was_interrupted('renamed', $run, 'the database is being renamed');
	$node->safe_psql('postgres', 'ALTER DATABASE renamed RENAME TO app');
};

subtest 'ALTER DATABASE SET TABLESPACE' => sub {
	$node->safe_psql('postgres', q{CREATE TABLESPACE elsewhere LOCATION ''});
	wait_for_scheduler($node, 'app');
	my ($run) = begin_long_run('app');

	cmp_ok(
		seconds_for(
			sub {
				$node->safe_psql('postgres',
					'ALTER DATABASE app SET TABLESPACE elsewhere');
			}),
		'<', $PROMPT, 'it is prompt while a job runs');
	was_interrupted('app', $run, 'the database is being moved');
};

subtest 'a copied database does nothing until it is told to' => sub {
	add_job($node, 'app', 'often', 'every 1 second', 'SELECT 1');
	my ($run) = begin_long_run('app');
	my $queued = trigger($node, 'app', 'long');

	cmp_ok(
		seconds_for(
			sub {
				$node->safe_psql('postgres',
					'CREATE DATABASE copy TEMPLATE app');
			}),
		'<', $PROMPT, 'CREATE DATABASE is prompt while a job runs');
	$node->safe_psql('app', "SELECT aggjobs_cancel($queued)");
	was_interrupted('app', $run, 'the database is being copied');

	wait_for_scheduler($node, 'copy');
	is( $node->safe_psql('copy',
			'SELECT DISTINCT state FROM aggjobs.jobs'),
		'copied', 'its jobs are in the state "copied"');

	# A job made in the copy runs there; when it has run, the others, which
	# were due before, could have.
	add_job($node, 'copy', 'native', undef, 'SELECT 1');
	is((run_to_end($node, 'copy', 'native'))[1],
		'succeeded', 'a job made in the copy runs');
	is( $node->safe_psql('copy', q{
			SELECT count(*) FROM aggjobs.runs
			WHERE job_name <> 'native' AND started_at >
				(SELECT created_at FROM aggjobs.jobs WHERE job_name = 'native')}),
		0, 'the copied ones have not run');
	isnt(run_field($node, 'copy', $queued, 'status'),
		'running', 'a run that was queued in the source does not run in the copy');

	$node->safe_psql('copy', 'SELECT aggjobs_resume(NULL)');
	wait_for($node, 'copy', q{
		SELECT EXISTS (SELECT FROM aggjobs.runs r JOIN aggjobs.jobs j USING (job_id)
			WHERE r.job_name = 'often' AND r.status = 'succeeded'
			  AND r.started_at > j.changed_at)},
		'a resumed job runs in the copy');
	isnt(run_field($node, 'copy', $queued, 'status'),
		'running', 'what was queued in the source does not come back to life');
};

# It is copied with its workers queued: what runs is cancelled for the copy, and
# queued again.
subtest 'a backfill goes on where it was begun' => sub {
	my $wait = "SELECT aggjobs_wait_backfill(1, '1 minute')";
	my $wrong = q{
		SELECT count(*) FROM hours h FULL JOIN (
			SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*) AS n
			FROM raw GROUP BY 1) AS r USING (bucket)
		WHERE h.n IS DISTINCT FROM r.n};

	set_enabled($node, 'off');
	$node->safe_psql('app', q{
		SET client_min_messages = warning;
		CREATE TABLE raw (at timestamptz NOT NULL);
		INSERT INTO raw SELECT '2026-01-01 UTC'::timestamptz + g * interval '10 minutes'
		FROM generate_series(0, 575) AS g;
		SELECT aggjobs_create_rollup('hours', $$SELECT date_trunc('hour', at, 'UTC') AS bucket,
			count(*) AS n FROM raw GROUP BY 1$$, NULL);
		SELECT aggjobs_backfill('hours', chunk => '1 day', workers => 2)});
	$node->safe_psql('postgres', 'CREATE DATABASE half_way TEMPLATE app');
	set_enabled($node, 'on');

	is($node->safe_psql('app', $wait), 'succeeded', 'there it does');
	is($node->safe_psql('app', $wrong), 0, 'and is right');
	wait_for($node, 'half_way',
		q{SELECT state = 'paused' FROM aggjobs.backfills},
		'in the copy it is paused');
	wait_for($node, 'half_way', q{
			SELECT count(*) = 0 FROM aggjobs.runs
			WHERE status IN ('queued', 'running')},
		'and no run of it is left');
	is($node->safe_psql('half_way', 'SELECT count(*) FROM hours'),
		0, 'nor has there been one');
	$node->safe_psql('half_way', 'SELECT aggjobs_resume_backfill(1)');
	is($node->safe_psql('half_way', $wait), 'succeeded', 'resumed, it goes on');
	is($node->safe_psql('half_way', $wrong), 0, 'and is right');
	is(check_invariants($node, 'half_way'), '', 'the records are true');
	$node->safe_psql('postgres', 'DROP DATABASE half_way');
};

subtest 'a run that does not heed its cancel' => sub {
	add_job($node, 'app', 'stubborn', undef, qq{
		DO \$do\$ BEGIN LOOP BEGIN EXECUTE '$FOREVER';
		EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END \$do\$}, retries => 0);
	my $run = trigger($node, 'app', 'stubborn');
	wait_in_command($node, 'app', $run);

	cmp_ok(
		seconds_for(
			sub {
				$node->safe_psql('postgres',
					'ALTER DATABASE app RENAME TO renamed');
			}),
		'<', 3 * $PROMPT, 'holds up DDL for a bounded time');
	# Its worker was ended, so its end is written down by the next scheduler.
	wait_for_end($node, 'renamed', $run);
	was_interrupted('renamed', $run, 'the database is being renamed');
	$node->safe_psql('postgres', 'ALTER DATABASE renamed RENAME TO app');
	wait_for_scheduler($node, 'app');
};

subtest 'a job that drops the extension' => sub {
	add_job($node, 'app', 'suicide', undef, 'DROP EXTENSION pg_aggjobs', retries => 0);
	my ($run, $status) = run_to_end($node, 'app', 'suicide');

	isnt($status, 'succeeded', 'does not get far');
	wait_for_scheduler($node, 'app');
	is((run_to_end($node, 'app', 'short'))[1],
		'succeeded', 'the others go on');
};

subtest 'the schema of the extension is dropped' => sub {
	$node->safe_psql('plain', q{
		CREATE SCHEMA tools;
		CREATE EXTENSION pg_aggjobs SCHEMA tools});
	wait_for_scheduler($node, 'plain');
	my $run = $node->safe_psql('plain', qq{
		SET search_path = tools;
		SELECT aggjobs_schedule('long', NULL, '$FOREVER');
		SELECT aggjobs_trigger('long')}) =~ s/.*\n//r;
	wait_in_command($node, 'plain', $run);
	$node->safe_psql('plain', 'DROP SCHEMA tools CASCADE');
	wait_for($node, 'postgres', q{
		SELECT NOT EXISTS (SELECT FROM pg_stat_activity
			WHERE backend_type LIKE 'pg_aggjobs%' AND datname = 'plain')},
		'its processes have left');
	pass('its processes leave');

	$node->safe_psql('plain', q{
		CREATE SCHEMA tools;
		CREATE EXTENSION pg_aggjobs SCHEMA tools});
	wait_for_scheduler($node, 'plain');
	$node->safe_psql('plain', q{
		DROP SCHEMA tools CASCADE;
		CREATE EXTENSION pg_aggjobs});
	wait_for_scheduler($node, 'plain');
	pass('it can be created again at once');
	$node->safe_psql('plain', 'DROP EXTENSION pg_aggjobs');
};

subtest 'a template database' => sub {
	my $since = -s $node->logfile;
	$node->safe_psql('template1', q{
		CREATE EXTENSION pg_aggjobs;
		SELECT aggjobs_schedule('inherited', 'every 1 second', 'SELECT 1')});
	$node->safe_psql('postgres',
		'SET SESSION AUTHORIZATION mallory; CREATE DATABASE cloned');
	pass('can be copied by everybody who may create a database');
	wait_for_scheduler($node, 'cloned');
	my ($scheduler) = log_since($since) =~
	  /(starting background worker process "pg_aggjobs scheduler for database 1")/;
	is($scheduler, undef, 'is never connected to');
	is( $node->safe_psql('cloned',
			q{SELECT state FROM aggjobs.jobs WHERE job_name = 'inherited'}),
		'copied', 'its jobs wait in the copy');
	$node->safe_psql('template1', 'DROP EXTENSION pg_aggjobs');
};

subtest 'a database becomes a template and none again' => sub {
	$node->safe_psql('postgres', 'ALTER DATABASE cloned IS_TEMPLATE true');
	wait_for($node, 'postgres', q{
		SELECT NOT EXISTS (SELECT FROM pg_stat_activity
			WHERE backend_type LIKE 'pg_aggjobs%' AND datname = 'cloned')},
		'its scheduler has left');
	pass('its scheduler leaves');
	$node->safe_psql('postgres', 'ALTER DATABASE cloned IS_TEMPLATE false');
	wait_for_scheduler($node, 'cloned');
	pass('its scheduler comes back');
};

subtest 'DROP DATABASE without FORCE' => sub {
	my ($run) = begin_long_run('app');

	cmp_ok(
		seconds_for(
			sub { $node->safe_psql('postgres', 'DROP DATABASE app') }),
		'<', $PROMPT, 'it is prompt while a job runs');
	is((run_to_end($node, 'postgres', 'short'))[1],
		'succeeded', 'the other database goes on');
};

$node->stop;
done_testing();
