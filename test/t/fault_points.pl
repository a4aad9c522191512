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
aggjobs.worker_idle = 20ms
CONF
install_testing($node, $db);

# Two steps, each with an effect of its own that tells of the run it was for.  The
# number comes first, so that points tell them apart.
$node->safe_psql($db, q{CREATE TABLE effect (step integer, job text)});
my $serial = 0;

sub add_two_steps
{
	my $job = 'job ' . ++$serial;

	$node->safe_psql($db, qq{
		SELECT aggjobs_create_job('$job', NULL, '[
			{"kind": "command", "command": "INSERT INTO effect VALUES (1, ''$job'')"},
			{"kind": "command", "command": "INSERT INTO effect VALUES (2, ''$job'')"}]',
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

# Points on the way of a run, in order, and the one at which it is over.  The last
# step commits effect, result and "succeeded" together.
my @COMMITS = map { ("before commit: $_", "after commit: $_") }
	('start a run', 'INSERT INTO effect VALUES (1', 'INSERT INTO effect VALUES (2');
my @WORKER = (
	'at: slot attached',
	'at: connected',
	'at: run taken',
	@COMMITS,
	'at: run over',
	'at: reset',
	'before commit: reset the session');
my @SCHEDULER = (
	'before commit: look for queued runs',
	'after commit: look for queued runs',
	'at: worker asked for');
my @SLOTS = ('before commit: record slots', 'after commit: record slots');

# Wait until the server has ended itself at this point, and is there again.
sub wait_for_panic
{
	my ($point, $since) = @_;

	$node->wait_for_log(
		qr/PANIC:  fault point "\Q$point\E.*database system is ready to accept connections/s, $since);
	return;
}

sub end_processes
{
	my ($kind) = @_;

	return $node->safe_psql($db, qq{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE backend_type = 'pg_aggjobs $kind' AND (datname = current_database() OR datname IS NULL)});
}

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
	my $since = -s $node->logfile;
	arm($node, $db, $pattern, $action);
	ask("SELECT aggjobs_trigger('$job')");
	wait_for_panic("$kind $point", $since) if $action eq 'panic';
	if ($action eq 'wait')
	{
		wait_until(qq{SELECT testing.waiting('$pattern') > 0}, "$pattern is reached");
		end_processes($kind);
	}
	my ($last, $effects, $wrong) = outcome($job);

	# Some come after the end of the run.  A panic was waited for, and has disarmed all.
	wait_until(qq{SELECT testing.hits('$pattern') > 0}, "$pattern is reached") if $action ne 'panic';
	pass("$action at $pattern: it was reached");
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
	try_point('worker', $_, 'panic') for @COMMITS;
	try_point('scheduler', $_, 'panic') for ('at: worker asked for');
};

subtest 'slots' => sub {
	for my $action ('error', 'wait', 'panic')
	{
		for my $point (@SLOTS)
		{
			my $pattern = "scheduler $point*";
			my $job = "slots $action $point";

			my $since = -s $node->logfile;
			add_job($node, $db, $job, '* * * * * *', 'SELECT 1', catch_up => q{'all'});
			arm($node, $db, $pattern, $action, skip => 1);
			if ($action eq 'panic')
			{
				wait_for_panic("scheduler $point", $since);
			}
			elsif ($action eq 'wait')
			{
				wait_until(qq{SELECT testing.waiting('$pattern') > 0}, "$pattern is reached");
				end_processes('scheduler');
			}
			else
			{
				wait_until(qq{SELECT testing.hits('$pattern') > 1}, "$pattern is reached");
			}
			wait_until(qq{SELECT count(*) FILTER (WHERE status = 'succeeded') > 2 FROM aggjobs.runs WHERE job_name = '$job'},
				'slots come again');
			is(slots_amiss($node, $db, $job), 0, "$action $point: each slot is in one row");
			is(check_invariants($node, $db), '', 'the records are as they should be');
			$node->safe_psql($db, "SELECT aggjobs_drop_job('$job')");
			release($node, $db, $pattern);
		}
	}
};

# Transactions that not every run has: who has it, which, a job that leads there,
# and what its runs come to.
my @OTHERS = (
	[ 'worker', 'store a result', undef, 'VACUUM effect', q{bool_or(status = 'succeeded')}, retries => 1, retry_delay => q{'10 ms'} ],
	[ 'worker', 'store an error', undef, 'SELECT 1/0', q{bool_and(status = CASE WHEN error ~ 'division' THEN 'failed' ELSE 'crashed' END)}, retries => 0 ],
	[ 'scheduler', 'end a run', undef, 'SELECT pg_terminate_backend(pg_backend_pid())', q{bool_and(status = 'cancelled')} ],
	[ 'scheduler', 'load jobs', 'every 1 second', 'SELECT 1', q{bool_or(status = 'succeeded')} ],
	[ 'scheduler', 'plan the next slot', 'after 1 second', 'SELECT 1', q{count(*) FILTER (WHERE status = 'succeeded') > 1} ],
	[ 'scheduler', 'replace a run', 'every 1 second', $FOREVER, q{bool_or(note = 'replaced by a later slot')}, overlap => q{'replace'} ],
	[ 'scheduler', 'miss a slot', 'every 1 second', $FOREVER, q{bool_or(status = 'missed')}, overlap => q{'queue'}, start_deadline => q{'500 ms'} ]);

sub check_other
{
	my ($pattern, $job, $schedule, $outcome) = @_;
	my $of_job = "FROM aggjobs.runs WHERE job_name = '$job'";

	wait_until(qq{SELECT testing.hits('$pattern') > 0}, "$pattern is reached");
	wait_until(qq{SELECT count(*) > 0 AND $outcome $of_job}, "$job: $outcome");
	pass("error at $pattern: its runs come to what they should");
	release($node, $db, $pattern);
	$node->safe_psql($db, qq{SELECT aggjobs_pause('$job')});
	wait_until(qq{SELECT count(aggjobs_cancel(run_id)) = 0 $of_job AND status IN ('queued', 'running')}, "$job is over");
	is(slots_amiss($node, $db, $job), 0, 'each slot is in one row') if ($schedule // '') =~ /^every/;
	return;
}

# All at once, as much of it is waiting for slots.
for my $when ('before', 'after')
{
	subtest "error $when other commits" => sub {
		my @armed = map { [ "$_->[0] $when commit: $_->[1]", "$_->[1] $when", @$_[ 2 .. $#$_ ] ] } @OTHERS;

		for (@armed)
		{
			my ($pattern, $job, $schedule, $command, $outcome, %args) = @$_;

			arm($node, $db, $pattern, 'error');
			add_job($node, $db, $job, $schedule, $command, %args);
			trigger($node, $db, $job) if !defined $schedule;
		}
		check_other(@$_[ 0 .. 2, 4 ]) for @armed;
		is(check_invariants($node, $db), '', 'the records are as they should be');
		ok(goes_on(), 'and the next run works');
	};
}

# It must not start late for it, nor keep the scheduler busy or the log growing.
subtest 'a slot that can not be said to be missed' => sub {
	my $pattern = 'scheduler before commit: miss a slot';
	my $since = -s $node->logfile;

	$node->safe_psql($db, q{SELECT aggjobs_set_queue('one', 1)});
	add_job($node, $db, 'first', undef, $FOREVER, queue => q{'one'});
	add_job($node, $db, 'third', undef, 'SELECT 1', queue => q{'one'});
	my $first = trigger($node, $db, 'first');
	wait_in_command($node, $db, $first);
	arm($node, $db, $pattern, 'error', times => -1);
	add_job($node, $db, 'late', 'every 1 second', 'SELECT 1', queue => q{'one'}, start_deadline => q{'500 ms'});
	wait_until(qq{SELECT testing.hits('$pattern') > 2}, 'it was tried again');
	$node->safe_psql($db, "SELECT aggjobs_cancel($first)");
	is((run_to_end($node, $db, 'third'))[1], 'succeeded', 'others have their turn');
	is(ask(q{SELECT count(*) FROM aggjobs.runs WHERE job_name = 'late' AND started_at > slot + interval '500 ms'}),
		0, 'it does not start late');
	my $told = () = slurp_file($node->logfile, $since) =~ /ERROR:  fault point "$pattern"/g;
	is($told, 1, 'the log tells of it once');
	cmp_ok(ask(qq{SELECT testing.hits('$pattern')}), '<', 20, 'it is not tried all the time');
	release($node, $db, $pattern);
	wait_until(q{SELECT bool_or(status = 'missed') FROM aggjobs.runs WHERE job_name = 'late'}, 'it is missed');
	$node->safe_psql($db, q{SELECT aggjobs_drop_job('late')});
	is(check_invariants($node, $db), '', 'the records are as they should be');
};

# The launcher ends at an error, and the next one does its work: it finds a new
# database, and a scheduler that is gone is started again.
subtest 'launcher: error' => sub {
	my $database = 'new0';

	for my $point ('before commit: look for databases', 'after commit: look for databases', 'at: scheduler asked for')
	{
		my $pattern = "launcher $point";
		my $launcher = launcher_pid($node);

		arm($node, $db, $pattern, 'error');
		$node->safe_psql($db, 'CREATE DATABASE ' . ++$database);
		end_processes('scheduler');
		wait_until(qq{SELECT testing.hits('$pattern') > 0}, "$pattern is reached");
		create_extension($node, $database);
		wait_for_scheduler($node, $db);
		isnt(launcher_pid($node), $launcher, "error at $pattern: another launcher has started both schedulers");
		is(check_invariants($node, $db), '', 'the records are as they should be');
		ok(goes_on(), 'and the next run works');
		release($node, $db, $pattern);
	}
};

$node->stop;
done_testing();
