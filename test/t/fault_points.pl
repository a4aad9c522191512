# At each point on the way of a run something happens to the process that is
# there: an error, its end, or the end of the server.  Whatever it is, the
# records are true and complete, each step is done once, and the next run works.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $node = start_node('fault_points', conf => <<'CONF');
restart_after_crash = on
aggjobs.worker_idle = 200ms
CONF
install_testing($node, $db);

# Two steps, each with an effect of its own that tells of the run it was for.
$node->safe_psql($db, q{CREATE TABLE effect (job text, step integer)});
my $serial = 0;

sub add_two_steps
{
	my $job = 'job ' . ++$serial;

	$node->safe_psql($db, qq{
		SELECT aggjobs_create_job('$job', NULL, '[
			{"kind": "command", "command": "INSERT INTO effect VALUES (''$job'', 1)"},
			{"kind": "command", "command": "INSERT INTO effect VALUES (''$job'', 2)"}]',
			retries => 3, retry_delay => '10 ms')});
	return $job;
}

# A statement in whatever connection can be had; the server may be down.
sub ask
{
	my ($sql) = @_;
	my ($status, $out) = (1, '');

	# A connection that is lost raises an error.
	eval { ($status, $out) = $node->psql($db, $sql); };
	return $status == 0 ? $out : '';
}

sub wait_until
{
	my ($sql, $what) = @_;
	my $until = time + 2 * $PostgreSQL::Test::Utils::timeout_default;

	while (ask($sql) ne 't')
	{
		die "timed out waiting until $what" if time > $until;
	}
	return;
}

# Points on the way of a run, in order, and the one at which it is over.
my @WORKER = (
	'at: slot attached',
	'at: connected',
	'at: run taken',
	'before commit: start a run',
	'after commit: start a run',
	'before commit: INSERT INTO effect VALUES (',
	'after commit: INSERT INTO effect VALUES (',
	'at: run over',
	'at: reset');
my @SCHEDULER = (
	'before commit: look for queued runs',
	'after commit: look for queued runs',
	'at: worker asked for');
my @SLOTS = ('before commit: record slots', 'after commit: record slots');

# What must be so once all is over: whether the job succeeded in the end, and
# what is amiss.
sub outcome
{
	my ($job) = @_;

	wait_until(qq{SELECT count(*) > 0 AND bool_and(status NOT IN ('queued', 'running'))
		FROM aggjobs.runs WHERE job_name = '$job'}, "$job is over");
	my $last = ask(qq{SELECT status FROM aggjobs.runs WHERE job_name = '$job' ORDER BY run_id DESC LIMIT 1});
	my $effects = ask(qq{SELECT string_agg(step || ' ' || n, ', ' ORDER BY step)
		FROM (SELECT step, count(*) AS n FROM effect WHERE job = '$job' GROUP BY step) AS e});
	my $wrong = ask('SELECT 1') eq '1' ? check_invariants($node, $db) : 'the server is not there';

	return ($last, $effects, $wrong);
}

# The run after it works, and so do the processes.
sub goes_on
{
	my $job = add_two_steps();

	wait_until(qq{SELECT aggjobs_trigger('$job') IS NOT NULL}, 'a trigger is accepted');
	my ($last, $effects) = outcome($job);
	return $last eq 'succeeded' && $effects eq '1 1, 2 1';
}

sub try_point
{
	my ($kind, $point, $action) = @_;
	my $pattern = "$kind $point*";
	my $job = add_two_steps();

	# A worker that is there already would not pass the first points.
	wait_until(q{SELECT count(*) = 0 FROM aggjobs.workers}, 'no worker is there');
	arm($node, $db, $pattern, $action);
	ask("SELECT aggjobs_trigger('$job')");
	if ($action eq 'wait')
	{
		wait_until(qq{SELECT testing.waiting('$pattern') > 0}, "$pattern is reached");
		$node->safe_psql($db, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type = 'pg_aggjobs } . $kind . q{' AND (datname = current_database() OR datname IS NULL)});
	}
	my ($last, $effects, $wrong) = outcome($job);
	my $hits = $action eq 'panic' ? 1 : ask(qq{SELECT testing.hits('$pattern')});

	cmp_ok($hits, '>', 0, "$action at $pattern: it was reached");
	is($wrong, '', 'the records are as they should be');
	if ($last eq 'succeeded')
	{
		is($effects, '1 1, 2 1', 'each step is done once');
	}
	else
	{
		like($effects, qr/^(1 1(, 2 1)?)?$/, "it is $last, and no step is done twice");
	}
	release($node, $db, $pattern);
	ok(goes_on(), 'and the next run works');
	return;
}

for my $action ('error', 'wait')
{
	# Nobody sees a process to end before it has connected.
	my @points = $action eq 'wait' ? @WORKER[ 1 .. $#WORKER ] : @WORKER;

	subtest "worker: $action" => sub { try_point('worker', $_, $action) for @points };
	subtest "scheduler: $action" => sub { try_point('scheduler', $_, $action) for @SCHEDULER };
}
subtest 'worker: fatal' => sub { try_point('worker', $_, 'fatal') for @WORKER };
subtest 'server: panic' => sub {
	try_point('worker', $_, 'panic') for ('before commit: start a run', 'after commit: start a run',
		'before commit: INSERT INTO effect VALUES (', 'after commit: INSERT INTO effect VALUES (');
	try_point('scheduler', $_, 'panic') for ('at: worker asked for');
};

subtest 'slots' => sub {
	for my $action ('error', 'wait', 'panic')
	{
		for my $point (@SLOTS)
		{
			my $pattern = "scheduler $point*";
			my $job = "slots $action $point";

			add_job($node, $db, $job, '* * * * * *', 'SELECT 1', catch_up => q{'all'});
			arm($node, $db, $pattern, $action, skip => 1);
			if ($action eq 'wait')
			{
				wait_until(qq{SELECT testing.waiting('$pattern') > 0}, "$pattern is reached");
				$node->safe_psql($db, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
					WHERE backend_type = 'pg_aggjobs scheduler'});
			}
			else
			{
				wait_until($action eq 'panic'
					? q{SELECT pg_postmaster_start_time() IS NOT NULL AND testing.hits('none') = 0}
					: qq{SELECT testing.hits('$pattern') > 1}, "$pattern is reached");
			}
			wait_until(qq{SELECT count(*) FILTER (WHERE status = 'succeeded') > 4 FROM aggjobs.runs WHERE job_name = '$job'},
				'slots come again');
			is( ask(qq{SELECT (extract(epoch FROM max(coalesce(until_slot, slot)) - min(slot)) + 1)::int = sum(slots)
					FROM aggjobs.runs WHERE job_name = '$job' AND attempt = 1}),
				't', "$action $point: each slot is in one row");
			is(check_invariants($node, $db), '', 'the records are as they should be');
			$node->safe_psql($db, "SELECT aggjobs_drop_job('$job')");
			release($node, $db, $pattern);
		}
	}
};

$node->stop;
done_testing();
