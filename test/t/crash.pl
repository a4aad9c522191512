# Processes that are killed in the middle of a run: partial work is gone, the
# history tells the truth, and the next run works.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('crash', conf => "restart_after_crash = on\n");

# Work that hangs after its first half for as long as the switch says so.  Each
# run writes two rows; anything but two for each successful run is wrong.
$node->safe_psql('postgres', qq{
	CREATE TABLE work (half int);
	CREATE TABLE switch (hang boolean);
	INSERT INTO switch VALUES (false);
	CREATE FUNCTION work() RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
		INSERT INTO work VALUES (1);
		IF (SELECT hang FROM switch) THEN EXECUTE '$FOREVER'; END IF;
		INSERT INTO work VALUES (2);
	END \$\$});
add_job($node, 'postgres', 'by hand', undef, 'SELECT work()', retry_delay => q{'10 ms'});

sub hang
{
	my ($hang) = @_;
	$node->safe_psql('postgres', "UPDATE switch SET hang = $hang");
	return;
}

# A run that hangs half-way, and no other that will; returns it and its worker.
sub half_a_run
{
	hang('true');
	my $run = trigger($node, 'postgres', 'by hand');
	my $worker = wait_in_command($node, 'postgres', $run);
	hang('false');
	return ($run, $worker);
}

sub nothing_is_half_done
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql('postgres', q{
			SELECT (SELECT count(*) FROM work WHERE half = 1) - n,
				(SELECT count(*) FROM work WHERE half = 2) - n
			FROM (SELECT count(*) AS n FROM aggjobs.runs
				WHERE job_name = 'by hand' AND status = 'succeeded') AS ended}),
		'0|0', 'what is there is the work of the runs that succeeded');
	return;
}

sub next_run_works
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is((run_to_end($node, 'postgres', 'by hand'))[1],
		'succeeded', 'the next run works');
	nothing_is_half_done();
	return;
}

subtest 'a worker is ended by pg_terminate_backend()' => sub {
	my ($run, $worker) = half_a_run();
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
	is(wait_for_end($node, 'postgres', $run),
		'cancelled', 'the run is cancelled');
	like(run_field($node, 'postgres', $run, 'note'),
		qr/pg_terminate_backend/, 'and tells why');
	next_run_works();
};

subtest 'a run is interrupted by pg_cancel_backend()' => sub {
	my ($run, $worker) = half_a_run();
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($worker)");
	is(wait_for_end($node, 'postgres', $run),
		'cancelled', 'the run is cancelled');
	like(run_field($node, 'postgres', $run, 'note'),
		qr/by a signal/, 'and tells why');
	next_run_works();
};

subtest 'a session is ended in the middle of CALL aggjobs_run()' => sub {
	hang('true');
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_until(qr/called/,
		"\\echo called\nCALL aggjobs_run('by hand');\n");
	wait_for($node, 'postgres', q{
		SELECT EXISTS (SELECT FROM aggjobs.runs r
			JOIN pg_stat_activity a ON a.pid = r.worker_pid
			WHERE r.job_name = 'by hand' AND r.status = 'running'
			  AND a.wait_event = 'PgSleep')});
	hang('false');
	my ($run, $pid) = split /\|/, $node->safe_psql('postgres', q{
		SELECT run_id, worker_pid FROM aggjobs.runs
		WHERE job_name = 'by hand' AND status = 'running'});
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");

	is((run_to_end($node, 'postgres', 'by hand'))[1],
		'succeeded', 'the next run does not wait for it');
	like(run_field($node, 'postgres', $run, 'status'),
		qr/^(crashed|cancelled)$/, 'the broken run is over');
	nothing_is_half_done();
	eval { $session->quit };
};

subtest 'a job ends itself' => sub {
	my %commands = (
		'its session' => 'SELECT pg_terminate_backend(pg_backend_pid())',
		'its run' => q{SELECT aggjobs_cancel(run_id), pg_sleep(10) FROM aggjobs.runs WHERE status = 'running'},    # fence: sleeps on purpose
	);
	for my $what (sort keys %commands)
	{
		add_job($node, 'postgres', $what, undef, $commands{$what});
		is((run_to_end($node, 'postgres', $what))[1],
			'cancelled', "a job that ends $what is cancelled");
	}
	add_job($node, 'postgres', 'itself', undef,
		q{SELECT aggjobs_drop_job('itself')});
	is((run_to_end($node, 'postgres', 'itself'))[1],
		'succeeded', 'a job that drops itself has succeeded');
	next_run_works();
};

subtest 'the owner of a job is gone' => sub {
	$node->safe_psql('postgres', q{
		CREATE ROLE passing LOGIN;
		SELECT aggjobs_grant('passing')});
	add_job($node, 'postgres', 'orphan', undef, 'SELECT 1', owner => q{'passing'});
	is((run_to_end($node, 'postgres', 'orphan'))[1], 'succeeded', 'it runs');
	$node->safe_psql('postgres', 'ALTER ROLE passing NOLOGIN');
	my ($run, $status) = run_to_end($node, 'postgres', 'orphan');
	is($status, 'failed', 'without LOGIN of its owner it fails');
	like(run_field($node, 'postgres', $run, 'error'), qr/log ?in/i, 'and says why');
	$node->safe_psql('postgres', q{
		SELECT pg_terminate_backend(pid, 10000) FROM aggjobs.workers;
		SET client_min_messages = warning;
		SELECT aggjobs_revoke('passing');
		DROP ROLE passing});
	($run, $status) = run_to_end($node, 'postgres', 'orphan');
	is($status, 'failed', 'without its owner it fails');
	like(run_field($node, 'postgres', $run, 'error'), qr/role|owner/, 'and says why');
	next_run_works();
};

# The server's restart ends all sessions, so that one may wait for recovery
# only in new ones.
sub wait_for_recovery
{
	my ($run) = @_;
	wait_for($node, 'postgres',
		"SELECT status NOT IN ('queued', 'running') FROM aggjobs.runs WHERE run_id = $run",
		"run $run is over");
	return;
}

# What must be so after the server has come back without the process of this run.
sub it_crashed
{
	my ($run) = @_;

	wait_for_recovery($run);
	is(run_field($node, 'postgres', $run, 'status'), 'crashed', 'the run has crashed');
	wait_for($node, 'postgres', "SELECT status = 'succeeded' FROM aggjobs.runs WHERE retry_of = $run");
	pass('it is tried again');
	next_run_works();
	is(check_invariants($node, 'postgres'), '', 'the records are as they should be');
	return;
}

subtest 'a worker is killed, and the server restarts' => sub {
	add_job($node, 'postgres', 'often', 'every 1 second', 'SELECT 1');
	my ($run, $worker) = half_a_run();
	my $since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	kill 9, $worker;
	it_crashed($run);
	wait_for($node, 'postgres', qq{
		SELECT EXISTS (SELECT FROM aggjobs.runs
			WHERE job_name = 'often' AND status = 'succeeded' AND slot > '$since')},
		'the next slot of another job is run');
	pass('slots go on');
};

subtest 'the postmaster is killed' => sub {
	my ($run, $worker) = half_a_run();
	my $queued = trigger($node, 'postgres', 'by hand');

	kill_server($node);
	pass('all processes end');
	$node->start;
	it_crashed($run);
	is(wait_for_end($node, 'postgres', $queued), 'succeeded', 'a run that was queued is run');
	is(run_field($node, 'postgres', $queued, 'started_at > pg_postmaster_start_time() AND attempt = 1'), 't', 'now, and as it was');
};

subtest 'the server is shut down at once' => sub {
	my ($run, $worker) = half_a_run();

	$node->stop('immediate');
	$node->start;
	it_crashed($run);
};

subtest 'the server is shut down in order' => sub {
	my ($run, $worker) = half_a_run();

	$node->stop('fast');
	$node->start;
	wait_for_recovery($run);
	isnt(run_field($node, 'postgres', $run, 'status'),
		'succeeded', 'the run did not end well');
	next_run_works();
	is(slots_amiss($node, 'postgres', 'often'), 0, 'through all of this, each slot is in one row');
};

$node->stop;
done_testing();
