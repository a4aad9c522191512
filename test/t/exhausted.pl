# Too few processes for all the runs that are due: they wait, oldest first, and
# all of them run in the end.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $JOBS = 20;

# Launcher, scheduler, and one worker.
my $node = start_node('exhausted',
	conf => "max_worker_processes = 3\nmax_logical_replication_workers = 0\n");

my $SHORTAGE = qr/runs wait because no background worker slot is free/;

# How often the log tells that runs wait.
sub told
{
	my ($since) = @_;
	my $times = () = slurp_file($node->logfile, $since) =~ /$SHORTAGE/g;

	return $times;
}

subtest 'many jobs are due at once' => sub {
	my $since = -s $node->logfile;
	# They wait for one another, so that one worker after the other is wanted.
	my $gate = $node->background_psql('postgres');
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $at = $node->safe_psql('postgres',
		q{SELECT to_char(date_trunc('second', clock_timestamp()) + interval '2 seconds', 'YYYY-MM-DD HH24:MI:SS')}
	);
	$node->safe_psql('postgres', qq{
		SELECT aggjobs_schedule('job ' || i, 'at $at', 'SELECT pg_advisory_xact_lock_shared(1)')
		FROM generate_series(1, $JOBS) AS i});
	$node->wait_for_log($SHORTAGE, $since);
	is( $node->safe_psql('postgres', q{
			SELECT string_agg(DISTINCT status, ' ') FROM aggjobs.runs}),
		'queued running', 'those that find no worker wait');
	my $waiting = $node->safe_psql('postgres', q{
		SELECT waiting = (SELECT count(*) FROM aggjobs.runs WHERE status = 'queued') AND longest_wait > '0' FROM aggjobs.queues WHERE queue_name IS NULL});
	is($waiting, 't', 'how many, and for how long, is in aggjobs.queues');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	wait_for($node, 'postgres', qq{
		SELECT count(*) = $JOBS FROM aggjobs.runs WHERE status = 'succeeded'});
	is( $node->safe_psql('postgres', 'SELECT count(*) FROM aggjobs.runs'),
		$JOBS, 'all run, each of them once');
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM (SELECT started_at,
					lag(started_at) OVER (ORDER BY run_id) AS before
				FROM aggjobs.runs) AS r WHERE started_at < before}),
		0, 'the oldest first');
	is(told($since), 1, 'the log tells of it once');

	$since = -s $node->logfile;
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	$node->safe_psql('postgres', q{SELECT aggjobs_trigger('job ' || i) FROM generate_series(1, 3) AS i});
	$node->wait_for_log($SHORTAGE, $since);
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	wait_for($node, 'postgres', qq{
		SELECT count(*) = $JOBS + 3 FROM aggjobs.runs WHERE status = 'succeeded'});
	is(told($since), 1, 'when it happens again, it tells of it again, once');
	leave($gate);
};

subtest 'jobs of another owner get their turn' => sub {
	# One owner is never without work, so that its worker never ends by itself.
	$node->safe_psql('postgres', q{
		CREATE ROLE other LOGIN;
		SELECT aggjobs_grant('other')});
	add_job($node, 'postgres', 'busy', 'every 1 second', 'SELECT 1');
	add_job($node, 'postgres', 'theirs', undef, 'SELECT 1', owner => q{'other'});
	wait_for($node, 'postgres', q{
		SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'busy' AND status = 'succeeded')});
	my $run = trigger($node, 'postgres', 'theirs');
	is(wait_for_end($node, 'postgres', $run), 'succeeded', 'they run');
	cmp_ok(
		run_field($node, 'postgres', $run,
			'extract(epoch FROM started_at - queued_at)'),
		'<', 3, 'without waiting until the worker of another owner has no work');
};

subtest 'databases that come and go' => sub {
	# More than there are slots; each worker that ends must leave its slot.
	my $databases = 2 + $node->safe_psql('postgres', 'SHOW max_worker_processes');

	$node->safe_psql('postgres', q{SELECT aggjobs_pause('busy')});
	$node->append_conf('postgresql.conf', "max_worker_processes = 4\n");
	$node->restart;
	wait_for_scheduler($node, 'postgres');
	for my $i (1 .. $databases)
	{
		$node->safe_psql('postgres', "CREATE DATABASE passing$i");
		create_extension($node, "passing$i");
		add_job($node, "passing$i", 'work', undef, 'SELECT 1');
		run_to_end($node, "passing$i", 'work');
		$node->safe_psql("passing$i", 'DROP EXTENSION pg_aggjobs');
	}
	is((run_to_end($node, 'postgres', 'theirs'))[1],
		'succeeded', 'leave room for the others');
};

subtest 'an idle worker of another database' => sub {
	$node->safe_psql('postgres', q{SELECT aggjobs_pause('busy')});
	$node->append_conf('postgresql.conf', "max_worker_processes = 4\naggjobs.worker_idle = 1h\n");
	$node->safe_psql('postgres', 'CREATE DATABASE second');
	create_extension($node, 'second');
	add_job($node, 'second', 'work', undef, 'SELECT 1');
	$node->restart;
	wait_for_scheduler($node, $_) for 'postgres', 'second';
	for my $round (1, 2)
	{
		is((run_to_end($node, 'postgres', 'theirs'))[1], 'succeeded', 'a run leaves its worker idle');
		is($node->safe_psql('second', q{SELECT count(*) FROM pg_stat_activity
			WHERE backend_type = 'pg_aggjobs worker' AND datname = 'postgres'}), 1, 'in its own database');
		is((run_to_end($node, 'second', 'work'))[1], 'succeeded', 'which gives way to the run of another');
	}
	$node->safe_psql('second', 'DROP EXTENSION pg_aggjobs');
	$node->append_conf('postgresql.conf', "aggjobs.worker_idle = 1s\n");
};

subtest 'more databases than processes when the server starts' => sub {
	# Each is looked at once, one after the other, before the last has its turn.
	$node->safe_psql('postgres', 'CREATE DATABASE last');
	create_extension($node, 'last');
	$node->append_conf('postgresql.conf', "max_worker_processes = 3\n");
	$node->restart;
	wait_for_scheduler($node, 'last');
	cmp_ok(
		$node->safe_psql('postgres', q{
			SELECT extract(epoch FROM backend_start - pg_postmaster_start_time())
			FROM pg_stat_activity
			WHERE backend_type = 'pg_aggjobs scheduler' AND datname = 'last'}),
		'<', 5, 'the last one has its scheduler soon');
};

subtest 'no scheduler can be started' => sub {
	my $since = -s $node->logfile;
	$node->append_conf('postgresql.conf', "max_worker_processes = 2\n");
	$node->restart;
	wait_for_scheduler($node, 'postgres');
	$node->wait_for_log(qr/could not start a scheduler: no background worker slot is free/, $since);
	pass('the log tells of it');
	$node->safe_psql('postgres', q{SELECT aggjobs_trigger('theirs')});
	$node->wait_for_log($SHORTAGE, $since);
	$node->append_conf('postgresql.conf', "max_worker_processes = 4\n");
	$node->restart;
	wait_for($node, 'postgres', q{
		SELECT bool_and(status = 'succeeded') FROM aggjobs.runs WHERE job_name = 'theirs'});
	pass('with more processes, what has waited runs');
};

$node->stop;
done_testing();
