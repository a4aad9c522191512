# What the TAP tests have in common: servers with the extension, jobs, and
# waiting for what runs in the background.
#
# Nothing here sleeps.  Each wait is for a condition and ends with an error
# after PG_TEST_TIMEOUT_DEFAULT seconds; what has to be quick is measured with
# the server's own clock, not with the pace at which we look.
package AggjobsTest;

use strict;
use warnings;

# Half a minute is an age for everything that is waited for here, and with the
# usual three minutes one hanging test would eat the time of all others.
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} //= 30; }

use Carp;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(
  $FOREVER $FOREVER_CALL $STUBBORN until_file kill_server leave
  new_node start_node create_extension
  add_job trigger run_to_end wait_for_end wait_in_command wait_for
  run_field sqlstate_of seconds_for
  scheduler_pid launcher_pid wait_for_scheduler processes_of
  install_testing set_clock set_time wait_until_settled arm release
  check_invariants slots_amiss
  no_memory_to_measure set_enabled
);

# Why memory can be neither measured nor limited, if it can't: the address
# sanitizer's runtime takes much for itself, and ends a process that gets none.
sub no_memory_to_measure
{
	return 'memory is as the address sanitizer has it' if $ENV{ASAN_OPTIONS};
	return;
}

# A command that goes on until somebody stops it.  It holds no lock on which
# the test itself could hang, as waiting for an advisory lock would.
our $FOREVER_CALL = 'pg_sleep(3600)';
our $FOREVER = "SELECT $FOREVER_CALL";

# One that does not end when it is cancelled either.
our $STUBBORN = q{DO 'BEGIN LOOP BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END'};

# One that goes on until a file is there: no session can let it go while the
# server stops.
sub until_file
{
	my ($file) = @_;

	return qq{DO 'BEGIN WHILE (pg_stat_file(''$file'', true)).size IS NULL LOOP PERFORM pg_sleep(0.01); END LOOP; END'};
}

# What the jobs in the tests do should be theirs alone.
my $CONF = <<'CONF';
shared_preload_libraries = 'pg_aggjobs'
max_worker_processes = 32
max_prepared_transactions = 10
autovacuum = off
timezone = 'UTC'
log_timezone = 'UTC'
CONF

# new_node(name, conf => text, streaming => bool): a server not yet started.
sub new_node
{
	my ($name, %args) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(
		allows_streaming => $args{streaming} // 0,
		extra => [ '--encoding=UTF8', '--no-locale' ]);
	$node->append_conf('postgresql.conf', $CONF . ($args{conf} // ''));
	return $node;
}

# create_extension(node, database): with a scheduler at work, and without the
# ready-made pipeline, whose jobs would run in between.
sub create_extension
{
	my ($node, $database) = @_;

	$node->safe_psql($database, 'CREATE EXTENSION pg_aggjobs');
	$node->safe_psql($database,
		'SET client_min_messages = warning; SELECT aggjobs_drop_pipeline()');
	wait_for_scheduler($node, $database);
	return;
}

# start_node(name, ...): a running server with the extension in "postgres".
sub start_node
{
	my ($name, %args) = @_;
	my $node = new_node($name, %args);

	$node->start;
	create_extension($node, 'postgres');
	return $node;
}

# wait_for(node, database, condition, what)
sub wait_for
{
	my ($node, $database, $condition, $what) = @_;

	$node->poll_query_until($database, $condition)
	  or croak "timed out waiting until " . ($what // $condition);
	return;
}

# add_job(node, database, name, schedule or undef, command, argument => SQL, ...)
sub add_job
{
	my ($node, $database, $name, $schedule, $command, %args) = @_;
	my $more = join '', map { ", $_ => $args{$_}" } sort keys %args;

	$schedule = defined $schedule ? "\$s\$$schedule\$s\$" : 'NULL';
	return $node->safe_psql(
		$database, qq{
		SELECT aggjobs_create_job(\$n\$$name\$n\$, $schedule,
			jsonb_build_array(jsonb_build_object('kind', 'command',
				'command', \$c\$$command\$c\$))$more)});
}

sub trigger
{
	my ($node, $database, $job) = @_;

	return $node->safe_psql($database, "SELECT aggjobs_trigger('$job')");
}

# Kill the postmaster, and wait until its children have noticed and are gone:
# only then can the server be started again.
sub kill_server
{
	my ($node) = @_;
	my $pid = $node->{_pid};
	my @children = split /\s+/, `ps -o pid= --ppid $pid` =~ s/^\s+//r;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;

	$node->kill9;
	for my $child ($pid, grep { /^\d+$/ } @children)
	{
		# One that was stopped can't notice.
		kill 'CONT', $child;
		while (kill 0, $child) { croak "process $child stays" if time > $until; }
	}
	return;
}

# End a session that was not asked for long: its timer has run on.  It may have
# lost its server.
sub leave
{
	my ($session) = @_;

	$session->set_query_timer_restart;
	eval { $session->query('SELECT 1') };
	$session->quit;
	return;
}

# The final status of a run.
sub wait_for_end
{
	my ($node, $database, $run) = @_;
	my $limit = $PostgreSQL::Test::Utils::timeout_default;

	return $node->safe_psql($database,
		"SELECT aggjobs_wait($run, '$limit seconds')");
}

# run_to_end(node, database, job): (run id, final status)
sub run_to_end
{
	my ($node, $database, $job) = @_;
	my $run = trigger($node, $database, $job);

	return ($run, wait_for_end($node, $database, $run));
}

# Wait until the worker of a run sleeps, or waits for an advisory lock, in the
# middle of its command; returns its pid.
sub wait_in_command
{
	my ($node, $database, $run) = @_;

	wait_for($node, $database, qq{
		SELECT EXISTS (SELECT FROM aggjobs.runs r
			JOIN pg_stat_activity a ON a.pid = r.worker_pid
			WHERE r.run_id = $run AND r.status = 'running'
			  AND a.wait_event IN ('PgSleep', 'advisory'))},
		"run $run is in its command");
	return run_field($node, $database, $run, 'worker_pid');
}

# An expression over the columns of aggjobs.runs, for one run.
sub run_field
{
	my ($node, $database, $run, $expression) = @_;

	return $node->safe_psql($database,
		"SELECT $expression FROM aggjobs.runs WHERE run_id = $run");
}

# sqlstate_of(node, database, SQL): (SQLSTATE of the error, '' if none; all
# that psql said)
sub sqlstate_of
{
	my ($node, $database, $sql) = @_;
	my ($status, $out, $err) =
	  $node->psql($database, "\\set VERBOSITY verbose\n$sql",
		on_error_stop => 1);
	my ($state) = $err =~ /ERROR:  ([0-9A-Z]{5}):/;

	return ($state // '', $err);
}

# How long it takes, in seconds.
sub seconds_for
{
	my ($code) = @_;
	my $start = time;

	$code->();
	return time - $start;
}

sub scheduler_pid
{
	my ($node, $database) = @_;

	return $node->safe_psql('postgres', qq{
		SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'pg_aggjobs scheduler' AND datname = '$database'});
}

sub launcher_pid
{
	my ($node) = @_;

	return $node->safe_psql('postgres', qq{
		SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'pg_aggjobs launcher'});
}

# Wait until a database has a scheduler that is past its start: asleep, since
# it sleeps only once it has read everything.
sub wait_for_scheduler
{
	my ($node, $database) = @_;

	wait_for($node, 'postgres', qq{
		SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE backend_type = 'pg_aggjobs scheduler'
			  AND datname = '$database' AND wait_event_type = 'Extension')},
		"database $database has a scheduler");
	return;
}

# How many of our processes are connected to a database.
sub processes_of
{
	my ($node, $database) = @_;

	return $node->safe_psql('postgres', qq{
		SELECT count(*) FROM pg_stat_activity
		WHERE backend_type LIKE 'pg_aggjobs%' AND datname = '$database'});
}

# install_testing(node, database): the functions of a test build (doc/dev/faults.md).
sub install_testing
{
	my ($node, $database) = @_;

	$node->safe_psql($database, q{
		CREATE SCHEMA testing;
		CREATE FUNCTION testing.clock(at timestamptz, runs boolean, noticed boolean) RETURNS void
			LANGUAGE c AS '$libdir/pg_aggjobs', 'aggjobs_test_clock';
		CREATE FUNCTION testing.now() RETURNS timestamptz
			LANGUAGE c AS '$libdir/pg_aggjobs', 'aggjobs_test_now';
		CREATE FUNCTION testing.arm(pattern text, action text, skip integer, times integer) RETURNS void
			LANGUAGE c STRICT AS '$libdir/pg_aggjobs', 'aggjobs_test_arm';
		CREATE FUNCTION testing.release(pattern text) RETURNS void
			LANGUAGE c STRICT AS '$libdir/pg_aggjobs', 'aggjobs_test_release';
		CREATE FUNCTION testing.hits(pattern text) RETURNS integer
			LANGUAGE c STRICT AS '$libdir/pg_aggjobs', 'aggjobs_test_hits';
		CREATE FUNCTION testing.waiting(pattern text) RETURNS integer
			LANGUAGE c STRICT AS '$libdir/pg_aggjobs', 'aggjobs_test_waiting'});
	return;
}

# set_clock(node, database, instant or undef for the real one, runs, unnoticed);
# our processes look at it at once, unless it is unnoticed.
sub set_clock
{
	my ($node, $database, $at, $runs, $unnoticed) = @_;

	$at = defined $at ? "'$at'" : 'NULL';
	$runs = $runs ? 'true' : 'false';
	$unnoticed = $unnoticed ? 'false' : 'true';
	$node->safe_psql($database, "SELECT testing.clock($at, $runs, $unnoticed)");
	return;
}

# The clock stands still at a time of day of 2030-01-01.
sub set_time
{
	my ($node, $database, $time) = @_;

	set_clock($node, $database, "2030-01-01 $time+00");
	return;
}

# Wait until all slots up to now are told, and what is queued has been run.
sub wait_until_settled
{
	my ($node, $database) = @_;

	wait_for($node, $database, q{
		SELECT NOT EXISTS (SELECT FROM aggjobs.jobs WHERE enabled AND next_run_at <= testing.now())
		   AND NOT EXISTS (SELECT FROM aggjobs.runs WHERE status IN ('queued', 'running'))},
		'nothing is due');
	return;
}

# arm(node, database, pattern, action, skip => 0, times => 1)
sub arm
{
	my ($node, $database, $pattern, $action, %args) = @_;
	my ($skip, $times) = ($args{skip} // 0, $args{times} // 1);

	$node->safe_psql($database,
		"SELECT testing.arm('$pattern', '$action', $skip, $times)");
	return;
}

sub release
{
	my ($node, $database, $pattern) = @_;

	$node->safe_psql($database, "SELECT testing.release('$pattern')");
	return;
}

# Turn aggjobs.enabled 'on' or 'off' for the server.
sub set_enabled
{
	my ($node, $on) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET aggjobs.enabled = $on");
	$node->reload;
	wait_for($node, 'postgres',
		"SELECT current_setting('aggjobs.enabled') = '$on'");
	return;
}

# slots_amiss(node, database, job): of a job that comes each second, how many of
# its slots up to the last one are in no row; below 0, in several.
sub slots_amiss
{
	my ($node, $database, $job) = @_;

	return $node->safe_psql($database, qq{
		SELECT (extract(epoch FROM max(coalesce(until_slot, slot)) - min(slot)) + 1)::int - sum(slots)
		FROM aggjobs.runs WHERE job_name = '$job' AND slot IS NOT NULL AND attempt = 1});
}

# What must hold of the records of all jobs whenever nothing runs; the failures,
# one a line, so '' is as it should be.  What has just ended is given the time to
# be looked after.
sub check_invariants
{
	my ($node, $database) = @_;
	my $until = time + 10;
	my $wrong;

	do
	{
		$wrong = wrong_records($node, $database);
	} while ($wrong ne '' && time < $until);
	return $wrong;
}

sub wrong_records
{
	my ($node, $database) = @_;

	return $node->safe_psql($database, q{
		SELECT 'an attempt has two rows: ' || job_name || ' ' || slot
		FROM aggjobs.run WHERE slot IS NOT NULL
		GROUP BY job_name, job_id, slot, attempt HAVING count(*) > 1
		UNION ALL
		SELECT 'runs of a job overlap: ' || a.run_id || ' and ' || b.run_id
		FROM aggjobs.run a JOIN aggjobs.run b ON a.job_id = b.job_id AND a.run_id < b.run_id
		WHERE a.started_at < coalesce(b.ended_at, 'infinity') AND b.started_at < coalesce(a.ended_at, 'infinity')
		  AND a.status <> 'crashed' AND b.status <> 'crashed'
		UNION ALL
		SELECT 'a slot is in two rows: ' || a.run_id || ' and ' || b.run_id
		FROM aggjobs.run a JOIN aggjobs.run b ON a.job_id = b.job_id AND a.run_id < b.run_id
		WHERE a.attempt = 1 AND b.attempt = 1 AND a.trigger = 'schedule' AND b.trigger = 'schedule'
		  AND a.slot <= coalesce(b.until_slot, b.slot) AND b.slot <= coalesce(a.until_slot, a.slot)
		UNION ALL
		SELECT 'a run is said to be running, and no process has it: ' || run_id
		FROM aggjobs.run r WHERE status = 'running'
		  AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = r.worker_pid AND a.backend_start = r.worker_start)
		UNION ALL
		SELECT 'a run that is over has no end: ' || run_id
		FROM aggjobs.run WHERE status NOT IN ('queued', 'running') AND ended_at IS NULL
		UNION ALL
		SELECT 'a process has worked for two owners: ' || worker_pid
		FROM aggjobs.run WHERE worker_pid IS NOT NULL
		GROUP BY worker_pid, worker_start HAVING count(DISTINCT owner) > 1
		UNION ALL
		SELECT 'a slot of a worker that is gone: ' || coalesce(pid, 0)
		FROM aggjobs.workers w WHERE pid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = w.pid)
		UNION ALL
		SELECT 'a lock without a process: ' || pid
		FROM pg_locks l WHERE pid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid)});
}

1;
