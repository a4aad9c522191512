# Random kills and disturbances for some minutes, and after each round the
# question whether all records are true and every effect is there just once.
#
#   ./dev chaos [MINUTES] [SEED]
#
# A primary with a streaming standby.  In a round, which lasts about 15 seconds,
# processes of ours, sessions and the server are ended by every means, the
# standby is promoted in place of a primary that was killed, locks are held,
# disks are full, users change jobs.  Then all disturbances stop, and once
# nothing runs and nothing is due the invariants are checked.
#
# Prints the seed, each round with what was done, and each violation; the data
# directories stay where there was one.  Exit status 1 then.
use strict;
use warnings;

use AggjobsTest;
use LeaksTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $minutes = $ENV{CHAOS_MINUTES} || 15;
my $seed = $ENV{CHAOS_SEED} || int(time);
my $ROUND_SECONDS = 15;
my $SETTLE_SECONDS = 60;
my $db = 'postgres';
my %done;          # how often each disturbance was done
my $violations = 0;
my $number = 0;    # of servers made so far
my @nodes;         # all of them
my $log_seen = 0;  # how much of the primary's log is of earlier rounds
my $paused_at;     # when the last round's jobs were

srand($seed);

my $CONF = $LEAKS_CONF . <<'CONF';
restart_after_crash = on
wal_keep_size = 256MB
max_worker_processes = 24
max_connections = 60
aggjobs.max_workers = 6
aggjobs.cancel_grace = 500ms
aggjobs.shutdown_wait = 2s
aggjobs.worker_idle = 1s
aggjobs.keep_successes = 100000
aggjobs.keep_failures = 100000
lock_timeout = 5s
log_statement = none
CONF

sub say
{
	my ($text) = @_;

	note($text);
	return;
}

my $primary = start_node('server' . ++$number, streaming => 1, conf => $CONF);
my $standby;

push @nodes, $primary;

# ---------------------------------------------------------------- the work

sub command
{
	my ($sql) = @_;

	return qq[jsonb_build_object('kind', 'command', 'command', \$c\$$sql\$c\$)];
}

# Each step notes its effect, with the attempt that it was done by, in its own
# transaction: it is the one that is running.
sub effect
{
	my ($job, $step) = @_;

	return qq{INSERT INTO effect SELECT job_id, run_id, $step
		FROM aggjobs.runs WHERE job_name = '$job' AND status = 'running'};
}

# More than fits into memory, so that it needs temporary files.
my $SORT = q{SELECT count(*) FROM (SELECT g, repeat('x', 100) FROM generate_series(1, 200000) AS g ORDER BY 2, 1 OFFSET 0) AS s};

my @JOBS = (
	[ 'plain', '* * * * * *', {}, 2 ],
	[ 'all', '* * * * * *', { catch_up => q{'all'}, catch_up_limit => 1000 }, 1 ],
	[ 'skip', '* * * * * *', { catch_up => q{'skip'} }, 1 ],
	[ 'queue', '*/2 * * * * *', { overlap => q{'queue'}, queue => q{'narrow'} }, 2 ],
	[ 'replace', '*/3 * * * * *', { overlap => q{'replace'}, retries => 0 }, 2 ],
	[ 'deadline', 'every 2 seconds', { start_deadline => q{'5 seconds'}, priority => 5, queue => q{'narrow'} }, 1 ],
	[ 'nice', '*/5 * * * * *', { nice => 3, retries => 2 }, 1 ],
	[ 'follows', undef, { after => q{'{plain,queue}'} }, 1 ]);

sub make_jobs
{
	$primary->safe_psql($db, q{
		CREATE TABLE effect (job_id bigint, run_id bigint, step integer);
		CREATE TABLE big AS SELECT g FROM generate_series(1, 20000) AS g;
		CREATE TABLE busy (i integer);
		CREATE TABLE event (at timestamptz NOT NULL, kind text, v integer);
		CREATE INDEX ON event (at);
		SELECT aggjobs_set_queue('narrow', 1);
		SELECT aggjobs_create_rollup('by_second', $$SELECT date_trunc('second', at, 'UTC') AS bucket, kind,
			count(*) AS n, sum(v) AS total FROM event GROUP BY 1, 2$$, 'every 2 seconds');
		SELECT aggjobs_create_rollup('by_minute', $$SELECT date_trunc('minute', bucket, 'UTC') AS bucket, kind,
			sum(n) AS n, sum(total) AS total FROM by_second GROUP BY 1, 2$$, 'every 5 seconds')});
	for my $job (@JOBS)
	{
		my ($name, $schedule, $args, $nsteps) = @$job;
		my $steps = join ', ', map { command(effect($name, $_)) } 1 .. $nsteps;
		my $more = join '', map { ", $_ => $args->{$_}" } sort keys %$args;

		$schedule = defined $schedule ? "'$schedule'" : 'NULL';
		$primary->safe_psql($db, "SELECT aggjobs_create_job('$name', $schedule, jsonb_build_array($steps)$more)");
	}
	add_job($primary, $db, 'fails', '*/4 * * * * *', q{SELECT 1 / (random() * 2)::int}, retries => 2, retry_delay => q{'100 ms'});
	add_job($primary, $db, 'slow', '*/6 * * * * *', $FOREVER, timeout => q{'1 second'});
	add_job($primary, $db, 'locked', '*/2 * * * * *', q{INSERT INTO busy VALUES (1)}, settings => q{'{"lock_timeout": "500ms"}'});
	add_job($primary, $db, 'greedy', '*/7 * * * * *', q{SELECT repeat('x', 300000000)}, memory_limit => q{'32MB'}, retries => 0);
	add_job($primary, $db, 'sorts', undef, $SORT, settings => q{'{"work_mem": "64kB"}'}, retries => 0);
	add_job($primary, $db, 'parallel', '*/2 * * * * *', q{SELECT count(*) FROM big}, retries => 0, settings => q{'{"parallel_setup_cost": "0",
		"parallel_tuple_cost": "0", "min_parallel_table_scan_size": "0"}'});
	add_job($primary, $db, 'temporary', '*/3 * * * * *', q{CREATE TEMP TABLE own AS SELECT 1 AS one}, retries => 0);
	return;
}

# ---------------------------------------------------------- disturbances

# A statement in whatever connection can be had; what goes wrong is no matter.
sub try_psql
{
	my ($sql) = @_;
	my $out = '';

	eval { (undef, $out) = $primary->psql($db, "SET statement_timeout = '10s'; $sql"); };
	return $out // '';
}

sub one_of
{
	return $_[ int rand @_ ];
}

sub pids_of
{
	my ($type) = @_;

	return split /\n/, try_psql("SELECT pid FROM pg_stat_activity WHERE backend_type = '$type' AND pid <> pg_backend_pid()");
}

# Signal one process of this server, known by its own word.
sub signal
{
	my ($signal, $type) = @_;
	my @pids = grep { /^\d+$/ } pids_of($type);

	kill $signal, one_of(@pids) if @pids;
	return scalar @pids;
}

sub restart_after
{
	my ($how) = @_;

	$how->();
	$primary->start;
	return;
}

sub make_standby
{
	my $name = 'server' . ++$number;

	# One that a death has left behind.
	try_psql(q{ALTER TABLE busy SET TABLESPACE pg_default});
	try_psql(q{DROP TABLESPACE IF EXISTS small});
	return if try_psql(q{SELECT count(*) FROM pg_tablespace}) ne '2';

	$standby->stop('immediate') if $standby;
	$primary->backup($name);
	$standby = PostgreSQL::Test::Cluster->new($name);
	$standby->init_from_backup($primary, $name, has_streaming => 1);
	$standby->start;
	push @nodes, $standby;
	return;
}

# What the standby has not got when the primary dies is lost to both, so the
# records are checked against each other, not against ours.
sub fail_over
{
	eval { $primary->wait_for_catchup($standby) };
	kill_server($primary);
	$standby->promote;
	$primary = $standby;
	$standby = undef;
	$log_seen = 0;
	return;
}

# A run, and how it ended: "status sqlstate".
sub try_job
{
	my ($job) = @_;
	my $run = try_psql("SELECT aggjobs_trigger('$job')") || return '';

	return try_psql(qq{SELECT aggjobs_wait($run, '5 seconds')}) . ' ' . try_psql("SELECT sqlstate FROM aggjobs.runs WHERE run_id = $run");
}

# No room for temporary files: queries that need them, also those of jobs, fail.
# A worker that was there already may not have heard of it.
sub full_disk
{
	try_psql(q{ALTER SYSTEM SET temp_file_limit = '64kB'});
	try_psql(q{SELECT pg_reload_conf()});
	try_psql($SORT);
	try_psql(q{SELECT pg_terminate_backend(pid) FROM aggjobs.workers WHERE state = 'idle'});
	$done{'no room for a job'}++;
	$done{'and it failed for it'}++ if try_job('sorts') eq 'failed 53400';
	try_psql(q{ALTER SYSTEM RESET temp_file_limit});
	try_psql(q{SELECT pg_reload_conf()});
	return;
}

# A tablespace has one place on a machine, so there can be no standby meanwhile.
sub full_tablespace
{
	my $dir = $ENV{CHAOS_TMPFS} // '';

	return full_disk() if $dir eq '' || $standby;
	try_psql(qq{CREATE TABLESPACE small LOCATION '$dir'});
	try_psql(q{ALTER TABLE busy SET TABLESPACE small});
	try_psql(q{INSERT INTO busy SELECT g FROM generate_series(1, 2000000) AS g});
	# Jobs that write there fail with 53100 until it has been emptied.
	try_psql(q{SELECT pg_sleep(2.5)});
	try_psql(q{TRUNCATE busy});
	try_psql(q{ALTER TABLE busy SET TABLESPACE pg_default});
	try_psql(q{CHECKPOINT});
	try_psql(q{DROP TABLESPACE small});
	return;
}

my %disturbances = (
	'worker SIGTERM' => sub { signal('TERM', 'pg_aggjobs worker') },
	'worker SIGINT' => sub { signal('INT', 'pg_aggjobs worker') },
	'worker SIGKILL' => sub { signal('KILL', 'pg_aggjobs worker') if rand() < 0.3 },
	'scheduler SIGTERM' => sub { signal('TERM', 'pg_aggjobs scheduler') },
	'scheduler SIGKILL' => sub { signal('KILL', 'pg_aggjobs scheduler') if rand() < 0.2 },
	'launcher SIGTERM' => sub { signal('TERM', 'pg_aggjobs launcher') },
	'launcher SIGKILL' => sub { signal('KILL', 'pg_aggjobs launcher') if rand() < 0.2 },
	'session SIGTERM' => sub { signal('TERM', 'client backend') },
	'worker stopped a while' => sub {
		my @pids = pids_of('pg_aggjobs worker');
		return unless @pids;
		my $pid = one_of(@pids);
		kill 'STOP', $pid;
		try_psql(q{SELECT count(*) FROM aggjobs.runs, aggjobs.workers});
		kill 'CONT', $pid;
	},
	'fast restart' => sub { restart_after(sub { $primary->stop('fast') }) if rand() < 0.2 },
	'immediate restart' => sub { restart_after(sub { $primary->stop('immediate') }) if rand() < 0.2 },
	'postmaster SIGKILL' => sub { restart_after(sub { kill_server($primary) }) if rand() < 0.15 },
	'table locked' => sub {
		try_psql(q{BEGIN; LOCK busy IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.7); COMMIT});
	},
	'jobs locked' => sub {
		try_psql(q{BEGIN; SELECT aggjobs_alter_job(job_name, description => 'held') FROM aggjobs.jobs; SELECT pg_sleep(0.5); ROLLBACK});
	},
	'rows locked' => sub {
		try_psql(q{BEGIN; SELECT FROM aggjobs.run WHERE status IN ('queued', 'running') FOR UPDATE; SELECT pg_sleep(0.5); ROLLBACK});
	},
	'full disk' => \&full_tablespace,
	'triggers' => sub { try_psql(q{SELECT aggjobs_trigger(j) FROM unnest('{plain,queue,nice,fails}'::text[]) AS j}) },
	'cancels' => sub {
		try_psql(q{SELECT aggjobs_cancel(run_id) FROM aggjobs.runs WHERE status IN ('queued', 'running') AND random() < 0.5});
	},
	'retries' => sub {
		try_psql(q{SELECT aggjobs_retry(run_id) FROM aggjobs.runs WHERE status = 'failed' ORDER BY random() LIMIT 3});
	},
	'job comes and goes' => sub {
		try_psql(q{SELECT aggjobs_schedule('guest', '* * * * * *', 'SELECT 1')});
		try_psql(q{SELECT aggjobs_pause('guest'); SELECT aggjobs_resume('guest'); SELECT aggjobs_trigger('guest')});
		try_psql(q{SELECT aggjobs_drop_job('guest')});
	},
	'database comes and goes' => sub {
		try_psql('CREATE DATABASE guest');
		eval { $primary->psql('guest', q{CREATE EXTENSION pg_aggjobs; SELECT aggjobs_schedule('tick', '* * * * * *', 'SELECT 1')}) };
		try_psql('DROP DATABASE IF EXISTS guest');
	},
	'writes' => sub {
		try_psql(q{INSERT INTO event SELECT now() - random() * interval '2 minutes', one, (random() * 100)::int
			FROM unnest('{a,b,c}'::text[]) AS one, generate_series(1, 20);
			UPDATE event SET v = v + 1, at = at - interval '10 seconds' WHERE random() < 0.05;
			DELETE FROM event WHERE random() < 0.02});
	});

# -------------------------------------------------------------- the check

# Each run with itself and the attempts before it.
my $ATTEMPTS = q{
	WITH RECURSIVE attempts (run_id, before, retry_of) AS (
		SELECT run_id, run_id, retry_of FROM aggjobs.run
		UNION ALL SELECT a.run_id, r.run_id, r.retry_of FROM attempts a JOIN aggjobs.run r ON r.run_id = a.retry_of)};
my $NAMES = join ', ', map { "'$_->[0]'" } @JOBS;

my %CHECKS = (
	'an attempt has two rows' => q{
		SELECT job_name, slot, attempt FROM aggjobs.run WHERE slot IS NOT NULL
		GROUP BY job_id, job_name, slot, attempt HAVING count(*) > 1},
	'a slot is in two rows' => q{
		SELECT a.job_name, a.run_id, b.run_id FROM aggjobs.run a JOIN aggjobs.run b ON a.job_id = b.job_id AND a.run_id < b.run_id
		WHERE a.attempt = 1 AND b.attempt = 1 AND a.trigger = 'schedule' AND b.trigger = 'schedule'
		  AND a.slot <= coalesce(b.until_slot, b.slot) AND b.slot <= coalesce(a.until_slot, a.slot)},
	'slots are lost' => q{
		SELECT job_name, first, last, recorded, planned FROM (
			SELECT r.job_name, min(r.slot) AS first, max(coalesce(r.until_slot, r.slot)) AS last, sum(r.slots) AS recorded
			FROM aggjobs.run r WHERE r.trigger = 'schedule' AND r.attempt = 1 AND r.job_name <> 'guest'
			GROUP BY r.job_name) AS r
		JOIN aggjobs.jobs j USING (job_name),
		LATERAL (SELECT count(*) AS planned FROM aggjobs_preview_schedule(j.schedule, j.time_zone, 10000, r.first - interval '1 microsecond') AS p (slot)
			WHERE p.slot <= r.last) AS p
		WHERE recorded <> planned AND planned < 10000},
	'runs overlap' => q{
		SELECT a.job_name, a.run_id, b.run_id FROM aggjobs.run a JOIN aggjobs.run b ON a.job_id = b.job_id AND a.run_id < b.run_id
		WHERE a.started_at < coalesce(b.ended_at, 'infinity') AND b.started_at < coalesce(a.ended_at, 'infinity')
		  AND 'crashed' NOT IN (a.status, b.status)},
	# An attempt goes on where the one that it tries again has ended.
	'a step is done twice' => qq{
		$ATTEMPTS SELECT a.run_id, e.step, count(*) FROM attempts a JOIN effect e ON e.run_id = a.before
		GROUP BY a.run_id, e.step HAVING count(*) > 1},
	'a run succeeded without its effects' => qq{
		$ATTEMPTS SELECT r.job_name, r.run_id, r.trigger FROM aggjobs.run r JOIN aggjobs.job j USING (job_id)
		WHERE r.status = 'succeeded' AND r.job_name IN ($NAMES)
		  AND (SELECT count(*) FROM attempts a JOIN effect e ON e.run_id = a.before WHERE a.run_id = r.run_id)
			<> jsonb_array_length(j.steps)},
	'an effect is of no run' => q{
		SELECT e.* FROM effect e WHERE NOT EXISTS (SELECT FROM aggjobs.run r WHERE r.run_id = e.run_id AND r.job_id = e.job_id)},
	# The round before may have left half of what it takes for one.
	'jobs followed more often than those before them succeeded' => q{
		SELECT f.n, p.n, q.n FROM
			(SELECT count(*) AS n FROM aggjobs.run WHERE job_name = 'follows' AND trigger = 'dependency') AS f,
			(SELECT count(*) AS n FROM aggjobs.run WHERE job_name = 'plain' AND status = 'succeeded') AS p,
			(SELECT count(*) AS n FROM aggjobs.run WHERE job_name = 'queue' AND status = 'succeeded') AS q
		WHERE f.n > least(p.n, q.n) + 1},
	'a run is open' => q{
		SELECT run_id, job_name, status FROM aggjobs.run WHERE status IN ('queued', 'running')},
	'a worker is left' => q{
		SELECT pid, state FROM aggjobs.workers WHERE state NOT IN ('idle', 'ended')
		UNION ALL
		SELECT w.pid, w.state FROM aggjobs.workers w WHERE NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = w.pid)},
	'a lock is left' => q{
		SELECT locktype, pid, mode FROM pg_locks WHERE locktype = 'advisory'
		   OR pid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = pg_locks.pid)},
	'a temporary file is left' => q{SELECT name FROM pg_ls_tmpdir()},
	'a live view is wrong' => q{
		SELECT 'second', d.* FROM (
			(SELECT bucket, kind, n, total FROM by_second_live EXCEPT ALL
			 SELECT date_trunc('second', at, 'UTC'), kind, count(*), sum(v) FROM event GROUP BY 1, 2)
			UNION ALL
			(SELECT date_trunc('second', at, 'UTC'), kind, count(*), sum(v) FROM event GROUP BY 1, 2 EXCEPT ALL
			 SELECT bucket, kind, n, total FROM by_second_live)) AS d
		UNION ALL
		SELECT 'minute', d.* FROM (
			(SELECT bucket, kind, n, total FROM by_minute_live EXCEPT ALL
			 SELECT date_trunc('minute', at, 'UTC'), kind, count(*), sum(v) FROM event GROUP BY 1, 2)
			UNION ALL
			(SELECT date_trunc('minute', at, 'UTC'), kind, count(*), sum(v) FROM event GROUP BY 1, 2 EXCEPT ALL
			 SELECT bucket, kind, n, total FROM by_minute_live)) AS d});

sub violate
{
	my ($what, $rows) = @_;

	$violations++;
	note("VIOLATION: $what (seed $seed)");
	my @lines = split /\n/, $rows;
	note("    $_") for @lines > 10 ? @lines[ 0 .. 9 ] : @lines;
	return;
}

# Poll until a condition holds; false if it takes too long.
sub comes_true
{
	my ($sql) = @_;
	my $until = time + $SETTLE_SECONDS;

	while (try_psql($sql) ne 't')
	{
		return 0 if time > $until;
	}
	return 1;
}

# Once all those before it have succeeded since it last ended, a job is queued
# again; none that ended after the pause counts.  The instants are of different
# processes.
sub check_follows
{
	my $rows = try_psql(qq{
		SELECT f.ended, p.ended, q.ended FROM
			(SELECT coalesce(max(ended_at), '-infinity') + interval '1 second' AS ended FROM aggjobs.run WHERE job_name = 'follows') AS f,
			LATERAL (SELECT min(ended_at) AS ended FROM aggjobs.run WHERE job_name = 'plain' AND status = 'succeeded' AND ended_at > f.ended) AS p,
			LATERAL (SELECT min(ended_at) AS ended FROM aggjobs.run WHERE job_name = 'queue' AND status = 'succeeded' AND ended_at > f.ended) AS q
		WHERE greatest(p.ended, q.ended) < '$paused_at'::timestamptz - interval '1 second' AND p.ended IS NOT NULL AND q.ended IS NOT NULL});

	violate('a job did not follow', $rows) if $rows ne '';
	return;
}

# Processes come and go as we look, so what is amiss must stay.
sub stays_amiss
{
	my ($look) = @_;
	my $until = time + 5;
	my @found;

	do { @found = eval { $look->() } } while (@found && time < $until);
	return join "\n", @found;
}

sub check_leaks
{
	my $processes = stays_amiss(sub { unknown_processes($primary, $db) });
	my $segments = stays_amiss(sub { leaked_segments($primary) });
	my $tables = try_psql($ORPHANED_TABLES);

	violate('a process that nobody knows', $processes) if $processes ne '';
	violate('shared memory that nobody has', $segments) if $segments ne '';
	# The server itself leaves those of sessions that could not end in order.
	violate('temporary tables are left', $tables) if $tables ne '' && !was_interrupted($primary, $log_seen);
	try_psql("DROP TABLE $_ CASCADE") for split /\n/, $tables;
	$log_seen = -s $primary->logfile;
	return;
}

sub check
{
	comes_true(q{SELECT count(*) > 0 FROM pg_stat_activity
		WHERE backend_type = 'pg_aggjobs scheduler' AND datname = current_database()})
	  or violate('no scheduler', '');
	comes_true(q{SELECT NOT EXISTS (SELECT FROM aggjobs.jobs WHERE enabled AND next_run_at < now() - interval '3 seconds')})
	  or violate('slots are overdue', try_psql(q{SELECT job_name, next_run_at FROM aggjobs.jobs ORDER BY 2 LIMIT 5}));
	my $run = try_psql(q{SELECT aggjobs_trigger('plain')});
	comes_true("SELECT status NOT IN ('queued', 'running') FROM aggjobs.runs WHERE run_id = " . ($run || 0))
	  or violate('a trigger has no effect', $run);
	# Nothing new from here on; what waits for another attempt has its time.
	$paused_at = try_psql(q{SELECT clock_timestamp()});
	try_psql(q{SELECT aggjobs_pause(NULL)});
	comes_true(q{SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE status IN ('queued', 'running'))})
	  or violate('runs do not end', try_psql(q{SELECT run_id, job_name, status, queued_at, ready_at, worker_pid FROM aggjobs.runs
			WHERE status IN ('queued', 'running')}));
	comes_true(q{SELECT NOT EXISTS (SELECT FROM aggjobs.workers WHERE state <> 'idle')});
	for my $what (sort keys %CHECKS)
	{
		my ($status, $rows) = (1, '');

		eval { ($status, $rows) = $primary->psql($db, $CHECKS{$what}); };
		violate($what, $status == 0 ? $rows : 'could not be asked') if $status != 0 || $rows ne '';
	}
	check_follows();
	check_leaks();
	return;
}

# A pause of the checker would be a gap in the slots, so the history begins anew.
sub begin_anew
{
	$primary->safe_psql($db, q{DELETE FROM aggjobs.run; DELETE FROM effect; TRUNCATE busy; SELECT aggjobs_resume(NULL)});
	return;
}

# ---------------------------------------------------------------- rounds

say("seed $seed, $minutes minutes");
make_jobs();
my $began = time;
my $round = 0;
while (time - $began < $minutes * 60)
{
	my @told;
	my $until = time + $ROUND_SECONDS;

	$round++;
	begin_anew();
	make_standby() if !$standby && rand() < 0.5;
	while (time < $until)
	{
		my $what = one_of(sort keys %disturbances);

		$disturbances{$what}->();
		$done{$what}++;
		push @told, $what;
	}
	if ($standby && rand() < 0.6)
	{
		fail_over();
		$done{failover}++;
		push @told, 'failover';
	}
	check();
	say(sprintf 'round %d, %d s: %s', $round, time - $began, join ', ', @told);
	last if $violations > 5;
}

say(join ', ', map { "$_ $done{$_}" } sort keys %done);
violate('no job has met a full disk', '') if ($done{'no room for a job'} // 0) > 3 && !$done{'and it failed for it'};
for my $node (@nodes)
{
	my @bad = slurp_file($node->logfile) =~ /^.*(?:PANIC|TRAP|AddressSanitizer|terminated by signal (?:4|6|7|8|11)\b).*$/mg;

	violate('the log of ' . $node->name, join "\n", @bad) if @bad;
}
$_->stop('immediate', fail_ok => 1) for grep { defined } $primary, $standby;
is($violations, 0, "$round rounds without a violation, seed $seed");
done_testing();
