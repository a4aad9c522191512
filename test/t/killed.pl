# The launcher or a scheduler is killed: the server restarts, as after any such
# death, what ran has crashed and is tried again, and slots go on.
use strict;
use warnings;

use AggjobsTest;
use LeaksTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $node = start_node('killed', conf => "restart_after_crash = on\n$LEAKS_CONF");

$node->safe_psql($db, 'CREATE TABLE effect (step integer)');
$node->safe_psql($db, qq{SELECT aggjobs_create_job('steps', NULL, jsonb_build_array(
	jsonb_build_object('kind', 'command', 'command', 'INSERT INTO effect VALUES (1)'),
	jsonb_build_object('kind', 'command', 'command', 'INSERT INTO effect VALUES (2); $FOREVER')), retry_delay => '10 ms')});
add_job($node, $db, 'each second', '* * * * * *', 'SELECT 1');

for my $kind ('launcher', 'scheduler')
{
	subtest $kind => sub {
		my $run = trigger($node, $db, 'steps');
		wait_in_command($node, $db, $run);
		my $since = $node->safe_psql($db, 'SELECT clock_timestamp()');
		my $pid = $kind eq 'launcher' ? launcher_pid($node) : scheduler_pid($node, $db);

		kill 'KILL', $pid;
		wait_for($node, $db, qq{SELECT status = 'crashed' FROM aggjobs.runs WHERE run_id = $run}, 'the run has crashed');
		my $again = $node->safe_psql($db, "SELECT run_id FROM aggjobs.runs WHERE retry_of = $run");
		wait_in_command($node, $db, $again);
		is($node->safe_psql($db, 'SELECT string_agg(step::text, NULL) FROM effect'), '1', 'the run is tried again, from the step on that was not done');
		wait_for($node, $db, qq{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'each second' AND status = 'succeeded' AND slot > '$since')});
		is( $node->safe_psql($db, q{SELECT (extract(epoch FROM max(coalesce(until_slot, slot)) - min(slot)) + 1)::int = sum(slots)
				FROM aggjobs.runs WHERE job_name = 'each second' AND attempt = 1}),
			't', 'slots go on, and each is in one row');
		wait_for($node, $db, q{SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type IN ('pg_aggjobs launcher', 'pg_aggjobs scheduler')});
		pass('both are there');
		$node->safe_psql($db, "SELECT aggjobs_cancel($again)");
		is(wait_for_end($node, $db, $again), 'cancelled', 'it can be cancelled');
		$node->safe_psql($db, 'TRUNCATE effect');
		is(check_invariants($node, $db), '', 'all is as it should be');
		is(join(', ', leaked_segments($node)), '', 'no shared memory is left');
	};
}

$node->stop;
done_testing();
