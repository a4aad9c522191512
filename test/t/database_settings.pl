# What is set for a database or the server and would stop jobs: transactions that
# are read-only unless they say otherwise, and databases that take no connections.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $node = start_node('settings');

# The test itself writes, whatever is set.
$ENV{PGOPTIONS} = '-c default_transaction_read_only=off';

sub ask
{
	my ($database, $sql) = @_;

	return $node->safe_psql($database, "SET client_min_messages = warning; $sql");
}

# Wait until a job has had so many runs that ended like this since an instant.
sub wait_for_runs
{
	my ($database, $job, $status, $since, $n) = @_;

	wait_for($node, $database, qq{SELECT count(*) >= $n FROM aggjobs.runs
		WHERE job_name = '$job' AND status = '$status' AND started_at > '$since'}, "$n runs of $job are $status");
	return;
}

# How the runs of a job since an instant ended: "status sqlstate", each once.
sub ends_since
{
	my ($database, $job, $since) = @_;

	return ask($database, qq{SELECT string_agg(DISTINCT concat_ws(' ', status, sqlstate), ', ') FROM aggjobs.runs
		WHERE job_name = '$job' AND started_at > '$since' AND status <> 'running'});
}

# Another scheduler and other workers, which begin with what is set now.
sub begin_anew
{
	ask($db, qq{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
		WHERE datname = current_database() AND backend_type IN ('pg_aggjobs scheduler', 'pg_aggjobs worker')});
	wait_for_scheduler($node, $db);
	return;
}

ask($db, q{
	CREATE TABLE done (job text);
	CREATE TABLE event (at timestamptz NOT NULL);
	INSERT INTO event SELECT now() - g * interval '1 hour' FROM generate_series(1, 10) AS g;
	SELECT aggjobs_create_rollup('by_hour', $$SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*) AS n FROM event GROUP BY 1$$, NULL);
	SELECT aggjobs_create_job('fills', NULL, '[{"kind": "rollup", "rollup": "by_hour"}]')});
add_job($node, $db, 'writes', '* * * * * *', q{INSERT INTO done VALUES ('writes')}, catch_up => q{'all'}, overlap => q{'queue'});
add_job($node, $db, 'reads', '* * * * * *', q{DO 'BEGIN RAISE NOTICE ''read''; END'}, catch_up => q{'all'}, overlap => q{'queue'});
add_job($node, $db, 'says otherwise', '* * * * * *', q{INSERT INTO done VALUES ('says otherwise')}, catch_up => q{'all'}, overlap => q{'queue'},
	settings => q{'{"default_transaction_read_only": "off"}'});
wait_for_runs($db, 'writes', 'succeeded', '-infinity', 1);

for my $whose ("DATABASE $db", 'SYSTEM')
{
	subtest "default_transaction_read_only, ALTER $whose" => sub {
		ask($db, "ALTER $whose SET default_transaction_read_only = on");
		$node->reload;
		begin_anew();
		my $since = ask($db, 'SELECT clock_timestamp()');
		my $done = ask($db, q{SELECT count(*) FROM done WHERE job = 'writes'});

		is( do { local $ENV{PGOPTIONS} = ''; $node->safe_psql($db, 'SHOW transaction_read_only') },
			'on', 'a session is read-only');
		wait_for_runs($db, 'writes', 'failed', $since, 2);
		wait_for_runs($db, $_, 'succeeded', $since, 1) for 'reads', 'says otherwise';
		is(ends_since($db, 'writes', $since), 'failed 25006', 'a job that writes fails, with the reason');
		is(ends_since($db, $_, $since), 'succeeded', "a job that $_ succeeds") for 'reads', 'says otherwise';
		is(ask($db, q{SELECT count(*) FROM done WHERE job = 'writes'}), $done, 'nothing has been written');
		is(ask($db, q{SELECT count(*) FROM aggjobs.runs WHERE job_name = 'writes' AND attempt > 1}), 0, 'it is not tried again');
		wait_for($node, $db, qq{SELECT EXISTS (SELECT FROM aggjobs.run_logs l JOIN aggjobs.runs r USING (run_id)
			WHERE r.job_name = 'reads' AND r.started_at > '$since' AND l.message = 'read')}, 'log lines are stored');
		my ($run, $status) = run_to_end($node, $db, 'fills');
		is($status, 'succeeded', 'a rollup is computed, in transactions of ours');
		ask($db, q{SELECT aggjobs_alter_job('reads', description => 'changed'), aggjobs_pause('reads'), aggjobs_resume('reads')});

		ask($db, "ALTER $whose RESET default_transaction_read_only");
		$node->reload;
		begin_anew();
		$since = ask($db, 'SELECT clock_timestamp()');
		wait_for_runs($db, 'writes', 'succeeded', $since, 1);
		is(slots_amiss($node, $db, 'writes'), 0, 'each slot is in one row');
		is(check_invariants($node, $db), '', 'all is as it should be');
	};
}

subtest 'a database that takes no connections' => sub {
	ask($db, 'CREATE DATABASE closed');
	create_extension($node, 'closed');
	add_job($node, 'closed', 'ticks', '* * * * * *', 'SELECT 1');
	add_job($node, 'closed', 'long', undef, "SELECT pg_advisory_xact_lock_shared(1)", retry_delay => q{'10 ms'});
	wait_for_runs('closed', 'ticks', 'succeeded', '-infinity', 1);
	my $gate = $node->background_psql('closed');
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $run = trigger($node, 'closed', 'long');
	wait_in_command($node, 'closed', $run);

	# Refused or rolled back, jobs go on.
	ask($db, 'BEGIN; ALTER DATABASE closed ALLOW_CONNECTIONS false; ROLLBACK');
	my $since = ask($db, 'SELECT clock_timestamp()');
	is(run_field($node, 'closed', $run, q{status || ': ' || note}), 'cancelled: the database is closed to connections', 'what goes on is told why it has to stop');
	wait_for_runs('closed', 'ticks', 'succeeded', $since, 1);
	pass('rolled back, jobs go on');
	my $again = ask('closed', "SELECT run_id FROM aggjobs.runs WHERE retry_of = $run");
	wait_in_command($node, 'closed', $again);
	pass('and what was cancelled is tried again');

	my $log = -s $node->logfile;
	ask($db, 'ALTER DATABASE closed ALLOW_CONNECTIONS false');
	$gate->quit;
	is(processes_of($node, 'closed'), 0, 'closed: no process of ours is left there');
	$since = ask($db, 'SELECT clock_timestamp()');
	wait_for_runs($db, 'reads', 'succeeded', $since, 2);
	pass('jobs of other databases go on');
	is(processes_of($node, 'closed'), 0, 'and none has come back');
	$node->restart;
	$since = ask($db, 'SELECT clock_timestamp()');
	wait_for_runs($db, 'reads', 'succeeded', $since, 2);
	is(processes_of($node, 'closed'), 0, 'nor does one after a restart');
	is(scalar(() = slurp_file($node->logfile, $log) =~ /not currently accepting connections/g), 0, 'no process has tried to connect');

	ask($db, 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
	my $opened = ask('closed', 'SELECT clock_timestamp()');
	wait_for_runs('closed', 'ticks', 'succeeded', $opened, 2);
	pass('opened again, its jobs go on');
	cmp_ok(ask('closed', qq{SELECT extract(epoch FROM min(started_at) - '$opened') FROM aggjobs.runs WHERE started_at > '$opened'}),
		'<', 5, 'within seconds');
	is(slots_amiss($node, 'closed', 'ticks'), 0, 'each slot is in one row');
	is(ask('closed', q{SELECT count(*) FROM aggjobs.runs WHERE job_name = 'ticks' AND status NOT IN ('succeeded', 'missed', 'skipped', 'queued', 'running', 'cancelled')}),
		0, 'and no run has failed for it');
	is(wait_for_end($node, 'closed', ask('closed', "SELECT run_id FROM aggjobs.runs WHERE retry_of = $again")), 'succeeded', 'what was cancelled is done');
	is(check_invariants($node, 'closed'), '', 'all is as it should be');
};

$node->stop;
done_testing();
