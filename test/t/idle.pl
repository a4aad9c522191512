# With nothing due, nothing wakes up, and little memory is used.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'needs /proc' unless -r '/proc/self/status';

# The time that is watched; nothing is waited for.
my $WATCHED = 'SELECT pg_sleep(4)';    # fence: sleeps on purpose
my $MOST_MEMORY = 10;                  # MB, private to a process

my $node = start_node('idle');
add_job($node, 'postgres', 'by hand', undef, 'SELECT 1');

# A figure from the kernel's account of a process.
sub status_of
{
	my ($pid, $figure) = @_;
	my ($value) = slurp_file("/proc/$pid/status") =~ /^$figure:\s+(\d+)/m;

	defined $value or die "no $figure of process $pid";
	return $value;
}

# Each sleep is one voluntary switch, so each wake-up adds one.
sub wake_ups
{
	my ($pid, $code) = @_;
	my $before = status_of($pid, 'voluntary_ctxt_switches');

	$code->();
	return status_of($pid, 'voluntary_ctxt_switches') - $before;
}

# Until the last worker has gone there is something to do.
is((run_to_end($node, 'postgres', 'by hand'))[1], 'succeeded', 'a job runs');
wait_for($node, 'postgres', q{SELECT NOT EXISTS (SELECT FROM aggjobs.workers)});
wait_for_scheduler($node, 'postgres');

my $scheduler = scheduler_pid($node, 'postgres');
my $launcher = launcher_pid($node);
my %slept;

$slept{scheduler} = wake_ups($scheduler, sub {
	$slept{launcher} = wake_ups($launcher,
		sub { $node->safe_psql('postgres', $WATCHED) });
});
is($slept{scheduler}, 0, 'the scheduler sleeps while nothing is planned');
is($slept{launcher}, 0, 'so does the launcher');

# While something is planned it looks at the clock, which somebody may set: every
# minute, or every second in a test build.
add_job($node, 'postgres', 'far away', '@yearly', 'SELECT 1');
wait_for_scheduler($node, 'postgres');
cmp_ok(wake_ups($scheduler, sub { $node->safe_psql('postgres', $WATCHED) }), '<=', 5, 'with a job that is planned it reads the clock');
cmp_ok(
	wake_ups($scheduler,
		sub { run_to_end($node, 'postgres', 'by hand') }),
	'>', 0, 'the scheduler wakes up for a run');

SKIP: for my $kind ('scheduler', 'launcher')
{
	skip no_memory_to_measure(), 1 if no_memory_to_measure();
	my $pid = $kind eq 'scheduler' ? $scheduler : $launcher;
	cmp_ok(status_of($pid, 'RssAnon') / 1024,
		'<', $MOST_MEMORY, "the $kind uses little memory");
}

$node->safe_psql('postgres', q{
	SELECT aggjobs_schedule('job ' || i, '@yearly', 'SELECT 1')
	FROM generate_series(1, 1000) AS i});
is((run_to_end($node, 'postgres', 'job 1000'))[1],
	'succeeded', 'a job runs among a thousand');
SKIP:
{
	skip no_memory_to_measure(), 1 if no_memory_to_measure();
	cmp_ok(status_of($scheduler, 'RssAnon') / 1024,
		'<', $MOST_MEMORY, 'the scheduler uses little memory for a thousand jobs');
}

$node->stop;
done_testing();
