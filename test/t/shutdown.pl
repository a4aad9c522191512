# A server that is shut down lets runs come to their end, for a limited time, and
# what it could not end is told truthfully when it is up again.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('shutdown', streaming => 1, conf => <<'CONF');
aggjobs.shutdown_wait = 20s
aggjobs.cancel_grace = 500ms
CONF
my $db = 'postgres';

my $file = $node->basedir . '/go';

add_job($node, $db, 'held', undef, until_file($file));
add_job($node, $db, 'endless', undef, $FOREVER, retry_delay => q{'1 hour'}, retry_delay_limit => q{'1 hour'});
add_job($node, $db, 'stubborn', undef, $STUBBORN, retries => 0);
add_job($node, $db, 'limited', undef, $FOREVER, timeout => q{'2 seconds'});
add_job($node, $db, 'short', undef, 'SELECT 1');

# Wait until no client's session is left, which a smart shutdown waits for, too.
sub no_sessions
{
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];

	for (1 .. 3000)
	{
		return if `ps -o args= --ppid $postmaster` !~ /\[local\]/;
		select undef, undef, undef, 0.01;
	}
	die 'a session stays';
}

# Begin to stop the server; the postmaster has told its children when this
# returns.
sub begin_stop
{
	my ($mode) = @_;

	system_or_bail('pg_ctl', '-D', $node->data_dir, '-m', $mode, '-W', 'stop');
	for (1 .. 3000)
	{
		my $lines = slurp_file($node->data_dir . '/postmaster.pid');
		return if $lines =~ /^stopping/m;
		select undef, undef, undef, 0.01;
	}
	die 'the server does not stop';
}

sub end_stop
{
	$node->stop($_[0] // 'fast');
	return;
}

sub restart
{
	$node->start;
	wait_for_scheduler($node, $db);
	return;
}

sub touch
{
	open my $handle, '>', $file or die;
	close $handle;
	return;
}

sub start_run
{
	my ($job) = @_;
	my $run = trigger($node, $db, $job);

	wait_in_command($node, $db, $run);
	return $run;
}

sub status_of
{
	return run_field($node, $db, $_[0], 'status');
}

for my $mode ('fast', 'smart')
{
	subtest "a $mode shutdown waits for a run" => sub {
		unlink $file;
		my $run = start_run('held');
		my $queued = trigger($node, $db, 'held');
		no_sessions();
		begin_stop($mode);
		touch();
		end_stop($mode);
		restart();
		is(status_of($run), 'succeeded', 'which ends well');
		is(wait_for_end($node, $db, $queued), 'succeeded', 'and what was queued is run after the start');
		is( $node->safe_psql($db, qq{SELECT bool_and(started_at > pg_postmaster_start_time())
				FROM aggjobs.runs WHERE run_id = $queued}),
			't', 'not before');
	};
}

subtest 'parallel plans' => sub {
	$node->safe_psql($db, 'CREATE TABLE big AS SELECT g FROM generate_series(1, 20000) AS g');
	my $parallel = q{{"parallel_setup_cost": "0", "parallel_tuple_cost": "0", "min_parallel_table_scan_size": "0"}};
	my $add = sub {
		my ($name, @commands) = @_;
		my $steps = join ', ', map { "jsonb_build_object('kind', 'command', 'command', \$c\$$_\$c\$)" } @commands;
		$node->safe_psql($db, "SELECT aggjobs_create_job('$name', NULL, jsonb_build_array($steps), settings => '$parallel')");
	};
	$add->('begins', until_file($file), 'SELECT count(*) FROM big');
	$add->('goes on', "SELECT count($FOREVER_CALL) FROM big");

	unlink $file;
	my $begins = start_run('begins');
	my $goes_on = trigger($node, $db, 'goes on');
	wait_for($node, $db, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND wait_event = 'PgSleep'});
	begin_stop('fast');
	touch();
	end_stop('fast');
	restart();
	is(status_of($begins), 'succeeded', 'one that begins now does without other processes');
	is(run_field($node, $db, $goes_on, q{status || ': ' || note}),
		'cancelled: the server was shut down', 'one whose processes were ended is cancelled');
	is( $node->safe_psql($db, "SELECT count(*) FROM aggjobs.runs WHERE retry_of = $goes_on"),
		'1', 'and will be tried again');
	$node->safe_psql($db, q{SELECT aggjobs_drop_job('goes on')});
};

subtest 'pg_terminate_backend() while a smart shutdown waits for a client' => sub {
	my $session = $node->background_psql($db);
	my $run = start_run('endless');
	my $pid = run_field($node, $db, $run, 'worker_pid');

	begin_stop('smart');
	is($session->query("SELECT pg_terminate_backend($pid)"), 't', 'a worker is ended');
	is($session->query("SELECT aggjobs_wait($run, '30 seconds')"), 'cancelled', 'its run is cancelled');
	is($session->query("SELECT count(*) FROM aggjobs.runs WHERE retry_of = $run"), 0, 'for good');
	$session->quit;
	end_stop('smart');
	restart();
};

subtest 'a run that takes too long' => sub {
	$node->append_conf('postgresql.conf', 'aggjobs.shutdown_wait = 1s');
	$node->reload;
	my $run = start_run('endless');
	my $took = seconds_for(sub { $node->stop('fast') });
	cmp_ok($took, '>', 0.9, 'is given its time');
	cmp_ok($took, '<', 15, 'and no more');
	restart();
	is(run_field($node, $db, $run, q{status || ': ' || note}), 'cancelled: the server was shut down', 'then it is cancelled');
	is( $node->safe_psql($db, "SELECT attempt || ' ' || status FROM aggjobs.runs WHERE retry_of = $run"),
		'2 queued', 'and will be tried again');
	$node->safe_psql($db, "SELECT aggjobs_cancel(run_id) FROM aggjobs.runs WHERE retry_of = $run");
};

subtest 'a run that does not want to end' => sub {
	my $run = start_run('stubborn');
	my $took = seconds_for(sub { $node->stop('fast') });
	cmp_ok($took, '<', 20, 'is ended');
	restart();
	like(status_of($run), qr/^(cancelled|crashed)$/, 'and this is told');
	is($node->safe_psql($db, 'SELECT count(*) FROM aggjobs.workers'), 0, 'nothing is left of it');
};

subtest 'no time at all' => sub {
	$node->append_conf('postgresql.conf', 'aggjobs.shutdown_wait = 0');
	$node->reload;
	my $run = start_run('endless');
	cmp_ok(seconds_for(sub { $node->stop('fast') }), '<', 15, 'the server stops at once');
	restart();
	is(status_of($run), 'cancelled', 'the run is cancelled');
	$node->safe_psql($db, q{SELECT aggjobs_cancel(run_id) FROM aggjobs.runs WHERE status = 'queued'});
};

subtest 'a time limit that is over meanwhile' => sub {
	$node->append_conf('postgresql.conf', 'aggjobs.shutdown_wait = 20s');
	$node->reload;
	my $run = start_run('limited');
	my $took = seconds_for(sub { $node->stop('fast') });
	cmp_ok($took, '<', 19, 'ends the run, and with it the wait');
	restart();
	is(status_of($run), 'timed_out', 'and is told');
};

subtest 'pg_terminate_backend() is no shutdown' => sub {
	my $run = start_run('endless');
	$node->safe_psql($db, 'SELECT pg_terminate_backend(' . run_field($node, $db, $run, 'worker_pid') . ')');
	is(wait_for_end($node, $db, $run), 'cancelled', 'the run is cancelled');
	is($node->safe_psql($db, "SELECT count(*) FROM aggjobs.runs WHERE retry_of = $run"), 0, 'for good');
};

subtest 'an immediate shutdown' => sub {
	my $run = start_run('endless');
	my $queued = trigger($node, $db, 'endless');
	my $short = trigger($node, $db, 'short');
	wait_for_end($node, $db, $short);
	$node->stop('immediate');
	restart();
	is(status_of($short), 'succeeded', 'what had ended has ended');
	wait_for($node, $db, "SELECT status = 'crashed' FROM aggjobs.runs WHERE run_id = $run");
	pass('what went on has crashed');
	wait_in_command($node, $db, $queued);
	pass('and what was queued is run');
	$node->safe_psql($db, q{SELECT aggjobs_cancel(run_id) FROM aggjobs.runs WHERE status IN ('queued', 'running')});
	wait_for_end($node, $db, $queued);
};

subtest 'a standby that must confirm, and is not there' => sub {
	$node->append_conf('postgresql.conf', 'aggjobs.shutdown_wait = 1s');
	$node->reload;
	add_job($node, $db, 'ticks', 'every 1 second', 'CREATE TABLE IF NOT EXISTS public.tick (i int); INSERT INTO tick VALUES (1)');
	wait_for($node, $db, q{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'ticks' AND status = 'succeeded')});
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
	$node->reload;
	wait_for($node, $db, q{SELECT EXISTS (SELECT FROM pg_stat_activity
		WHERE backend_type = 'pg_aggjobs worker' AND wait_event = 'SyncRep')});
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_stat_activity
		WHERE backend_type = 'pg_aggjobs scheduler' AND wait_event = 'SyncRep'}),
		0, 'the scheduler does not wait for it');
	cmp_ok(seconds_for(sub { $node->stop('fast') }), '<', 25, 'the server stops');
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	restart();
	wait_for($node, $db, q{SELECT EXISTS (SELECT FROM aggjobs.runs
		WHERE job_name = 'ticks' AND status = 'succeeded' AND started_at > pg_postmaster_start_time())});
	is( $node->safe_psql($db, q{SELECT (SELECT count(*) FROM tick) >= count(*) FROM aggjobs.runs
			WHERE job_name = 'ticks' AND status = 'succeeded'}),
		't', 'what is said to have succeeded is there');
	is(check_invariants($node, $db), '', 'all is as it should be');
};

$node->stop;
done_testing();
