# The end of a run is taken note of, whatever stands in its way: an open
# transaction of the owner, a worker that leaves at once, a cancel, a session
# that is interrupted.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('ends_of_runs', conf => "aggjobs.worker_max_runs = 1\n");
$node->safe_psql('postgres', q{
	CREATE ROLE alice LOGIN;
	SELECT aggjobs_grant('alice')});

# Wait until a job has so many runs with this status.
sub wait_for_runs
{
	my ($job, $status, $n) = @_;
	wait_for($node, 'postgres', qq{
		SELECT count(*) >= $n FROM aggjobs.runs
		WHERE job_name = '$job' AND status = '$status'});
	return;
}

subtest 'a worker that leaves after each run' => sub {
	add_job($node, 'postgres', "after $_", 'after 1 second', 'SELECT 1')
	  for 1 .. 10;
	wait_for_runs("after $_", 'succeeded', 3) for 1 .. 10;
	pass('never loses the next slot of a job that counts from the last run');
	$node->safe_psql('postgres',
		q{SELECT aggjobs_drop_job('after ' || i) FROM generate_series(1, 10) AS i});
};

subtest 'the cancel of a queued run' => sub {
	# Paused, no worker takes the run before it is cancelled.
	set_enabled($node, 'off');
	add_job($node, 'postgres', 'again', 'after 1 second', 'SELECT 1');
	my $run = trigger($node, 'postgres', 'again');
	is($node->safe_psql('postgres', "SELECT aggjobs_cancel($run)"),
		't', 'is done at once');
	set_enabled($node, 'on');
	wait_for_runs('again', 'succeeded', 2);
	pass('the job goes on');
	$node->safe_psql('postgres', q{SELECT aggjobs_drop_job('again')});
};

subtest 'the cancel of a run whose worker waits to start' => sub {
	add_job($node, 'postgres', 'twice', undef, 'SELECT 1');
	my $session = $node->background_psql('postgres');
	$session->query_safe(q{
		SET client_min_messages = warning;
		BEGIN;
		CALL aggjobs_run('twice')});
	my $run = trigger($node, 'postgres', 'twice');
	wait_for($node, 'postgres', q{
		SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE backend_type = 'pg_aggjobs worker' AND wait_event_type = 'Lock')});
	my (undef, $cancelled) = $node->psql('postgres', qq{
		SET statement_timeout = '20s';
		SELECT aggjobs_cancel($run)});
	is($cancelled, 't', 'does not wait, too');
	$session->query_safe('COMMIT');
	$session->quit;
	is(wait_for_end($node, 'postgres', $run),
		'cancelled', 'the run does not start when it could');
	is((run_to_end($node, 'postgres', 'twice'))[1], 'succeeded', 'the job goes on');
	is( $node->safe_psql('postgres', q{
			SELECT string_agg(status, ' ' ORDER BY run_id) FROM aggjobs.runs
			WHERE job_name = 'twice'}),
		'succeeded cancelled succeeded', 'with each run in the history once');
};

subtest 'a worker that waits to store its end' => sub {
	add_job($node, 'postgres', 'noisy', undef,
		'DO $do$ BEGIN RAISE NOTICE $m$hello$m$; END $do$',
		owner => q{'alice'});
	add_job($node, 'postgres', 'clock', 'every 1 second', 'SELECT 1');
	wait_for_runs('clock', 'succeeded', 1);

	my $session = $node->background_psql('postgres',
		extra_params => [ '-U', 'alice' ]);
	$session->query_safe(
		q{BEGIN; SELECT aggjobs_alter_job('noisy', schedule => '@yearly')});
	my $run = trigger($node, 'postgres', 'noisy');
	wait_for($node, 'postgres', qq{
		SELECT EXISTS (SELECT FROM aggjobs.runs r
			JOIN pg_stat_activity a ON a.pid = r.worker_pid
			WHERE r.run_id = $run AND a.wait_event_type = 'Lock')});
	my $since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	wait_for($node, 'postgres', qq{
		SELECT count(*) >= 4 FROM aggjobs.runs
		WHERE job_name = 'clock' AND status = 'succeeded' AND slot > '$since'});
	is( $node->safe_psql('postgres', qq{
			SELECT count(*) FROM aggjobs.runs
			WHERE job_name = 'clock' AND slot > '$since' AND status = 'missed'}),
		0, 'holds up nobody else');
	$session->query_safe('COMMIT');
	$session->quit;
	is(wait_for_end($node, 'postgres', $run), 'succeeded', 'ends well');
	is( $node->safe_psql('postgres',
			"SELECT string_agg(message, ',') FROM aggjobs.run_logs WHERE run_id = $run"),
		'hello', 'with its log lines');
	$node->safe_psql('postgres', q{SELECT aggjobs_drop_job('clock')});
};

subtest 'a session that is interrupted while it stores the end' => sub {
	add_job($node, 'postgres', 'here', undef, 'SELECT 1', owner => q{'alice'});
	my $session = $node->background_psql('postgres',
		extra_params => [ '-U', 'alice' ]);
	$session->query_safe(
		q{BEGIN; SELECT aggjobs_alter_job('here', schedule => '@yearly')});
	my (undef, undef, $error) = $node->psql('postgres', q{
		SET lock_timeout = '300ms';
		CALL aggjobs_run('here')}, extra_params => [ '-U', 'alice' ]);
	like($error, qr/lock timeout/, 'it is interrupted');
	$session->query_safe('COMMIT');
	$session->quit;
	is((run_to_end($node, 'postgres', 'here'))[1],
		'succeeded', 'the next run is not in its way');
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM aggjobs.runs WHERE status = 'running'}),
		0, 'no run is left running');
};

for ([ 'left', 'goes on to something else', 'every 1 second' ],
	[ 'left for good', 'is over', 'after 1 second' ])
{
	my ($job, $then, $schedule) = @$_;
	subtest "a session that could not store the end, and $then" => sub {
		add_job($node, 'postgres', $job, undef, 'SELECT 1', owner => q{'alice'});
		my $lock = $node->background_psql('postgres');
		$lock->query_safe(qq{
			BEGIN;
			SELECT FROM aggjobs.job_state JOIN aggjobs.job USING (job_id)
			WHERE job_name = '$job' FOR UPDATE OF job_state});
		my $session = $node->background_psql('postgres',
			on_error_stop => 0, extra_params => [ '-U', 'alice' ]);
		$session->query(qq{
			SET lock_timeout = '300ms';
			CALL aggjobs_run('$job')});
		like($session->{stderr}, qr/lock timeout/, 'it is interrupted');
		$session->{stderr} = '';
		if ($then eq 'is over') { $session->quit; }
		else { $session->query_safe('BEGIN; SELECT 1'); }
		# Its first slot meets the run, which nobody can end so far.
		my $row = $node->background_psql('postgres');
		$row->query_safe(
			q{BEGIN; SELECT FROM aggjobs.run WHERE status = 'running' FOR UPDATE});
		$lock->query_safe(qq{
			SELECT aggjobs_alter_job('$job', schedule => '$schedule');
			COMMIT});
		$lock->quit;
		wait_for_runs($job, 'skipped', 1);
		$row->query_safe('COMMIT');
		$row->quit;
		wait_for_runs($job, 'succeeded', 2);
		is( $node->safe_psql('postgres', qq{
				SELECT status FROM aggjobs.runs
				WHERE job_name = '$job' ORDER BY run_id LIMIT 1}),
			'crashed', 'its run is ended, and is not in the way of the slots');
		$session->quit if $then ne 'is over';
		$node->safe_psql('postgres', "SELECT aggjobs_drop_job('$job')");
	};
}

subtest 'a session that runs a job which counts from its last run' => sub {
	my $gate = $node->background_psql('postgres');
	my $session = $node->background_psql('postgres');
	$gate->query_safe('SELECT pg_advisory_lock(7)');
	add_job($node, 'postgres', 'counts', undef,
		'SELECT pg_advisory_xact_lock_shared(7)');
	$session->query_until(qr/called/, q{
		SET client_min_messages = warning;
		\echo called
		CALL aggjobs_run('counts');
	});
	wait_for($node, 'postgres', q{
		SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'advisory')});
	$node->safe_psql('postgres',
		q{SELECT aggjobs_alter_job('counts', schedule => 'after 1 second')});
	wait_for_runs('counts', 'skipped', 1);
	$gate->query_safe('SELECT pg_advisory_unlock(7)');
	$gate->quit;
	wait_for_runs('counts', 'succeeded', 3);
	pass('goes on with the next slot');
	leave($session);
	$node->safe_psql('postgres', q{SELECT aggjobs_drop_job('counts')});
};

subtest 'a session that has looked at the processes before' => sub {
	add_job($node, 'postgres', 'late', undef, $FOREVER);
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe(q{
		\set VERBOSITY sqlstate
		BEGIN;
		SELECT count(*) FROM pg_stat_activity});
	# Its worker is new, as none stays after a run.
	my $run = trigger($node, 'postgres', 'late');
	wait_in_command($node, 'postgres', $run);
	$session->query(q{CALL aggjobs_run('late')});
	is($session->{stderr} =~ /ERROR:\s+(\w+)/ ? $1 : '',
		'55006', 'sees that a run of the job goes on');
	$session->query('ROLLBACK');
	$session->quit;
	is(run_field($node, 'postgres', $run, 'status'), 'running', 'which it does');

	$node->safe_psql('postgres', "SELECT aggjobs_cancel($run)");
	is(wait_for_end($node, 'postgres', $run), 'cancelled', 'until it is cancelled');
};

$node->stop;
done_testing();
