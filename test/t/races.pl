# What one process does in the moment in which another does something else; each
# moment is held at a fault point.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('races', conf => <<'CONF');
aggjobs.max_workers = 4
aggjobs.cancel_grace = 300ms
CONF
my $db = 'postgres';
install_testing($node, $db);
my $holder = $node->background_psql($db, on_error_stop => 1);

sub at { return set_time($node, $db, @_); }

# The rows of a job's slots, as one text.
sub rows_of
{
	my ($job) = @_;

	return $node->safe_psql($db, qq{
		SELECT string_agg(concat_ws(' ', to_char(slot, 'HH24:MI'), status, note), ', ' ORDER BY slot, run_id)
		FROM aggjobs.runs WHERE job_name = '$job' AND trigger = 'schedule'});
}

sub lines_are
{
	my ($run, $lines, $what) = @_;

	wait_for($node, $db, qq{
		SELECT status = 'running' AND ARRAY(SELECT message FROM aggjobs_logs($run)) = '$lines' FROM aggjobs.runs WHERE run_id = $run}, $what);
	pass($what);
	return;
}

# A job that says something when an advisory lock is let go, and goes on.
my $TALKER = q{DO $$BEGIN
	RAISE NOTICE 'one';
	PERFORM pg_advisory_xact_lock_shared(1);
	RAISE NOTICE 'two';
	PERFORM pg_advisory_xact_lock_shared(2); END$$};
my $STORE = 'scheduler before commit: store log lines';

subtest 'a line that comes while others are being stored' => sub {
	$holder->query_safe('SELECT pg_advisory_lock(1), pg_advisory_lock(2)');
	add_job($node, $db, 'talker', undef, $TALKER);
	arm($node, $db, $STORE, 'wait', times => -1);
	my $run = trigger($node, $db, 'talker');
	wait_for($node, $db, "SELECT testing.waiting('$STORE') = 1", 'the first is being stored');
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	wait_for($node, $db, q{
		SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 2 AND NOT granted)}, 'the second is said');
	release($node, $db, $STORE);
	lines_are($run, '{one,two}', 'both can be read while the run goes on');
	$holder->query_safe('SELECT pg_advisory_unlock(2)');
	is(wait_for_end($node, $db, $run), 'succeeded', 'the run ends');
};

subtest 'a line that a scheduler leaves to the next' => sub {
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	arm($node, $db, $STORE, 'fatal');
	my $run = trigger($node, $db, 'talker');
	lines_are($run, '{one}', 'it can be read while the run goes on');
	release($node, $db, $STORE);
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
	is(wait_for_end($node, $db, $run), 'succeeded', 'the run ends');
};

subtest 'a line that can not be stored when its worker ends' => sub {
	$holder->query_safe('SELECT pg_advisory_lock(1)');
	arm($node, $db, $STORE, 'error', times => -1);
	my $run = trigger($node, $db, 'talker');
	my $worker = wait_in_command($node, $db, $run);
	$node->safe_psql($db, "SELECT pg_terminate_backend($worker)");
	is(wait_for_end($node, $db, $run), 'cancelled', 'the run has its end');
	release($node, $db, $STORE);
	wait_for($node, $db, "SELECT ARRAY(SELECT message FROM aggjobs_logs($run)) = '{one}'", 'the line is stored later');
	pass('the line is stored later');
	$holder->query_safe('SELECT pg_advisory_unlock(1)');
};

subtest 'a slot replaces a run that is just being begun' => sub {
	my $begin = 'worker before commit: start a run';

	at('00:00:30');
	$node->safe_psql($db, 'CREATE TABLE effect (n integer)');
	add_job($node, $db, 'replaced', '* * * * *', 'INSERT INTO effect VALUES (1)', overlap => q{'replace'}, retries => 0);
	arm($node, $db, $begin, 'wait', times => -1);
	at('00:01:00');
	wait_for($node, $db, "SELECT testing.waiting('$begin') = 1", 'the first is being begun');
	at('00:02:00');
	wait_for($node, $db, q{
		SELECT count(*) = 2 FROM aggjobs.runs WHERE job_name = 'replaced'}, 'the second is due');
	# The word to stop may come before or after the point.
	release($node, $db, $begin);
	wait_for($node, $db, q{
		SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE status IN ('queued', 'running'))}, 'both are over');
	is(rows_of('replaced'), '00:01 cancelled replaced by a later slot, 00:02 succeeded', 'the first was stopped');
	is($node->safe_psql($db, 'SELECT count(*) FROM effect'), 1, 'and has no effect');
	$node->safe_psql($db, q{SELECT aggjobs_drop_job('replaced')});
};

# A queue in which one run is at work and stays there.
sub fill_queue
{
	$holder->query_safe('SELECT pg_advisory_lock(3)');
	$node->safe_psql($db, q{SELECT aggjobs_set_queue('narrow', 1)});
	add_job($node, $db, 'first', undef, 'SELECT pg_advisory_xact_lock_shared(3)', queue => q{'narrow'});
	my $run = trigger($node, $db, 'first');
	wait_in_command($node, $db, $run);
	return $run;
}

sub empty_queue
{
	my ($run) = @_;

	$holder->query_safe('SELECT pg_advisory_unlock(3)');
	is(wait_for_end($node, $db, $run), 'succeeded', 'the queue is free');
	$node->safe_psql($db, q{SELECT aggjobs_drop_job('first')});
	return;
}

subtest 'several runs of a job become too late at once' => sub {
	at('00:00:30');
	my $run = fill_queue();
	add_job($node, $db, 'late', '1-3 0 1 1 *', 'SELECT 1', queue => q{'narrow'}, catch_up => q{'all'}, start_deadline => q{'10 minutes'},
		overlap => q{'queue'});
	set_enabled($node, 'off');
	at('00:03:30');
	set_enabled($node, 'on');
	wait_for($node, $db, q{SELECT count(*) = 3 FROM aggjobs.runs WHERE job_name = 'late' AND status = 'queued'}, 'three wait');
	at('01:00:00');
	wait_for($node, $db, q{SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'late' AND status = 'queued')}, 'none waits');
	is(rows_of('late'), join(', ', map { "00:0$_ missed not started before its starting deadline" } 1 .. 3), 'all are told');
	empty_queue($run);
	$node->safe_psql($db, q{SELECT aggjobs_drop_job('late')});
};

subtest 'a run that became too late, of a schedule that counts from the ends of runs' => sub {
	at('01:00:00');
	my $run = fill_queue();
	add_job($node, $db, 'waits', 'after 10 minutes', 'SELECT 1', queue => q{'narrow'}, start_deadline => q{'1 minute'});
	wait_for($node, $db, q{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'waits' AND status = 'queued')}, 'it waits');
	at('01:05:00');
	wait_for($node, $db, q{SELECT next_run_at = '2030-01-01 01:15+00' FROM aggjobs.jobs WHERE job_name = 'waits'}, 'too late, and planned again');
	is(rows_of('waits'), '01:00 missed not started before its starting deadline', 'that is told');
	empty_queue($run);
	$node->safe_psql($db, q{SELECT aggjobs_drop_job('waits')});
};

$holder->quit;
is(check_invariants($node, $db), q{}, 'the records are true');
$node->stop;
done_testing();
