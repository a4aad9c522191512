# Fifty databases of one server, with fewer workers than databases: each has its
# slots run, and the launcher has nothing to do with it.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $DATABASES = 50;
my $WORKERS = 6;

# Launcher and schedulers, and what is left for workers of all of them.
my $processes = 1 + 1 + $DATABASES + $WORKERS;
my $node = start_node('many', conf => <<"CONF");
max_worker_processes = $processes
max_logical_replication_workers = 0
max_connections = 20
aggjobs.worker_idle = 1h
CONF
my @databases = map { "db$_" } 1 .. $DATABASES;

sub switches_of
{
	my ($pid) = @_;

	return slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : die;
}

# The copy must not be made while the scheduler of the template is connected,
# and a job of it would wait for aggjobs_resume().
$node->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE postgres") for @databases;
wait_for($node, 'postgres', qq{
	SELECT count(*) = $DATABASES + 1 FROM pg_stat_activity
	WHERE backend_type = 'pg_aggjobs scheduler' AND wait_event_type = 'Extension'}, 'each database has its scheduler');
pass('each database has its scheduler');

add_job($node, $_, 'tick', 'every 3 seconds', 'SELECT 1') for @databases;
for my $database (@databases)
{
	wait_for($node, $database, q{SELECT count(*) > 2 FROM aggjobs.runs WHERE status = 'succeeded'},
		"jobs of $database run");
}
pass('jobs run in each, though idle workers are kept for an hour');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_aggjobs worker'}),
	'<=', $WORKERS, 'by as many workers as there are');

my $launcher = launcher_pid($node);
my $before = switches_of($launcher);
my ($wrong, $told) = ('', '');
for my $database (@databases)
{
	$told .= $node->safe_psql($database, q{
		SELECT status, sum(slots) FROM aggjobs.runs WHERE status NOT IN ('succeeded', 'queued', 'running') GROUP BY 1});
}
is(switches_of($launcher) - $before, 0, 'the launcher sleeps meanwhile');
is($told, '', 'no slot was missed and no run failed');

$node->safe_psql($_, q{SELECT aggjobs_pause(NULL)}) for @databases;
for my $database (@databases)
{
	wait_for($node, $database, q{SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE status IN ('queued', 'running'))});
	$wrong .= check_invariants($node, $database);
}
is($wrong, '', 'all is as it should be');

$node->stop;
done_testing();
