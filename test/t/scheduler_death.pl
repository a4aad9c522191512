# The scheduler or the launcher dies: it is back at once, and what runs goes
# on, is not run twice, and ends with the truth about it.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# From pg_terminate_backend() to the start of the next process.
my $BACK_WITHIN = 2;

my $node = start_node('scheduler_death');

# A job that counts its runs, tells that it is under way, and goes on until the
# test lets go of the lock.
my $gate = $node->background_psql('postgres');
$node->safe_psql('postgres', q{
	CREATE TABLE done (at timestamptz DEFAULT clock_timestamp());
	CREATE FUNCTION work() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO done DEFAULT VALUES;
		RAISE NOTICE 'begun';
		PERFORM pg_advisory_xact_lock_shared(1);
		RAISE NOTICE 'over';
	END $$});
add_job($node, 'postgres', 'work', undef, 'SELECT work()');
add_job($node, 'postgres', 'often', 'every 1 second', 'SELECT 1');

# End a process of this kind and wait for the next one; returns how long it
# was away, in seconds.
sub end_process
{
	my ($kind) = @_;
	my ($pid, $ended) = split /\|/, $node->safe_psql('postgres', qq{
		SELECT pid, clock_timestamp() FROM pg_stat_activity,
			LATERAL pg_terminate_backend(pid) WHERE backend_type = '$kind'});
	my $next = "FROM pg_stat_activity WHERE backend_type = '$kind' AND pid <> $pid";

	wait_for($node, 'postgres', "SELECT EXISTS (SELECT $next)",
		"there is another $kind");
	return $node->safe_psql('postgres',
		"SELECT extract(epoch FROM backend_start - '$ended'::timestamptz) $next"
	);
}

for my $kind ('pg_aggjobs scheduler', 'pg_aggjobs launcher')
{
	subtest "$kind is ended while a job runs" => sub {
		$node->safe_psql('postgres', 'TRUNCATE done');
		$gate->query_safe('SELECT pg_advisory_lock(1)');
		my $run = trigger($node, 'postgres', 'work');
		my $worker = wait_in_command($node, 'postgres', $run);

		cmp_ok(end_process($kind), '<', $BACK_WITHIN, 'it is back at once');
		wait_for_scheduler($node, 'postgres');
		is( run_field($node, 'postgres', $run, "status || ' ' || worker_pid"),
			"running $worker",
			'the run goes on in its worker');

		$gate->query_safe('SELECT pg_advisory_unlock(1)');
		is(wait_for_end($node, 'postgres', $run), 'succeeded',
			'it ends well');
		is($node->safe_psql('postgres', 'SELECT count(*) FROM done'),
			1, 'its work was done once');
		is( $node->safe_psql('postgres', qq{
				SELECT string_agg(message, ' ' ORDER BY seq)
				FROM aggjobs.run_logs WHERE run_id = $run}),
			'begun over',
			'its messages are all there');
		is((run_to_end($node, 'postgres', 'work'))[1],
			'succeeded', 'the next run works');
	};
}

subtest 'slots that passed meanwhile are neither lost nor run twice' => sub {
	my $last = $node->safe_psql('postgres',
		q{SELECT max(slot) FROM aggjobs.runs WHERE job_name = 'often'});
	wait_for($node, 'postgres', qq{
		SELECT count(*) > 0 FROM aggjobs.runs
		WHERE job_name = 'often' AND slot > '$last' AND status = 'succeeded'});
	is(slots_amiss($node, 'postgres', 'often'), 0, 'each slot is in one row');
	is(check_invariants($node, 'postgres'), '', 'and in no other');
	is( $node->safe_psql('postgres', q{
			SELECT DISTINCT status FROM aggjobs.runs
			WHERE job_name = 'often' AND status NOT IN ('succeeded', 'missed', 'queued', 'running')}),
		'', 'none of them failed');
};

# The worker is gone by the time the next scheduler comes, so that nobody but
# the table can tell when the run ended.
subtest 'the pause of an "after" schedule outlives the scheduler' => sub {
	$node->safe_psql('postgres', q{
		ALTER SYSTEM SET aggjobs.worker_idle = 0;
		SELECT pg_reload_conf()});
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	add_job($node, 'postgres', 'pause', 'after 1 hour', 'SELECT work()');
	wait_for($node, 'postgres', q{
		SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'pause')});
	my $run = $node->safe_psql('postgres',
		q{SELECT run_id FROM aggjobs.runs WHERE job_name = 'pause'});
	my $worker = wait_in_command($node, 'postgres', $run);

	$node->safe_psql('postgres', qq{
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type = 'pg_aggjobs scheduler'});
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	wait_for($node, 'postgres',
		"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $worker)"
	);
	wait_for_scheduler($node, 'postgres');
	is( $node->safe_psql('postgres', q{
			SELECT date_trunc('minute', next_run_at - (SELECT ended_at
				FROM aggjobs.runs WHERE run_id = last_run_id) + interval '1 second')
			FROM aggjobs.jobs WHERE job_name = 'pause'}),
		'01:00:00', 'the next run is due an hour after the end of the last');
	is( $node->safe_psql('postgres',
			q{SELECT count(*) FROM aggjobs.runs WHERE job_name = 'pause'}),
		1, 'and there was no other');
	$node->safe_psql('postgres', q{
		ALTER SYSTEM RESET aggjobs.worker_idle;
		SELECT pg_reload_conf()});
};

subtest 'a worker that dies together with the scheduler' => sub {
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $run = trigger($node, 'postgres', 'work');
	wait_in_command($node, 'postgres', $run);
	$node->safe_psql('postgres', q{
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE backend_type IN ('pg_aggjobs scheduler', 'pg_aggjobs worker')});
	is(wait_for_end($node, 'postgres', $run),
		'cancelled', 'its run tells that it was ended on purpose');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	is((run_to_end($node, 'postgres', 'work'))[1],
		'succeeded', 'the next run works');
};

subtest 'runs queued while there is no scheduler' => sub {
	my $run = $node->safe_psql('postgres', q{
		SELECT aggjobs_trigger('work') FROM pg_stat_activity,
			LATERAL pg_terminate_backend(pid)
		WHERE backend_type = 'pg_aggjobs scheduler'});
	is(wait_for_end($node, 'postgres', $run), 'succeeded', 'are run');
};

subtest 'a scheduler that was asked for and never came' => sub {
	install_testing($node, 'postgres');
	arm($node, 'postgres', 'scheduler at: started', 'fatal');
	end_process('pg_aggjobs scheduler');
	wait_for($node, 'postgres', q{SELECT testing.hits('scheduler at: started') = 2}, 'it is asked for again');
	wait_for_scheduler($node, 'postgres');
	pass('long before the launcher looks at all databases again');
	release($node, 'postgres', 'scheduler at: started');
};

subtest 'a launcher that was started again knows new databases' => sub {
	end_process('pg_aggjobs launcher');
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	create_extension($node, 'app');
	pass('the new database has a scheduler');
};

leave($gate);
$node->stop;
done_testing();
