# Which runs that failed are tried again, when, and from which step on.  The
# clock is the test's.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('retries', conf => "aggjobs.keep_failures = 10000\n");
my $db = 'postgres';

install_testing($node, $db);
$node->safe_psql($db, 'CREATE TABLE effect (job text, step integer); CREATE TABLE fault (job text)');

sub at { return set_time($node, $db, @_); }

sub ask
{
	my ($sql) = @_;

	return $node->safe_psql($db, $sql);
}

sub raise
{
	my ($sqlstate) = @_;

	return "DO 'BEGIN RAISE EXCEPTION USING ERRCODE = ''$sqlstate''; END'";
}

# A command that fails with an error that passes, until all faults of the job are
# mended.
sub fails_until_mended
{
	my ($job) = @_;

	ask("INSERT INTO fault VALUES ('$job')");
	return "DO 'BEGIN IF EXISTS (SELECT FROM fault WHERE job = ''$job'') THEN RAISE EXCEPTION USING ERRCODE = ''40001''; END IF; END'";
}

sub mend
{
	my ($job) = @_;

	ask("DELETE FROM fault WHERE job = '$job'");
	return;
}

sub effect
{
	my ($job, $step) = @_;

	return "INSERT INTO effect VALUES ('$job', $step)";
}

# The effects of a job: "step times".
sub effects_of
{
	my ($job) = @_;

	return ask(qq{SELECT string_agg(step || ' ' || n, ', ' ORDER BY step)
		FROM (SELECT step, count(*) AS n FROM effect WHERE job = '$job' GROUP BY step) AS e});
}

# The attempts at the runs of a job, as one text.
sub attempts_of
{
	my ($job) = @_;

	return ask(qq{
		SELECT string_agg(attempt || ' ' || status, ', ' ORDER BY run_id) FROM aggjobs.runs WHERE job_name = '$job'});
}

sub steps_of
{
	my (@commands) = @_;

	return 'jsonb_build_array('
	  . join(', ', map { "jsonb_build_object('kind', 'command', 'command', \$c\$$_\$c\$)" } @commands) . ')';
}

sub add_steps
{
	my ($job, $commands, %args) = @_;
	my $schedule = delete $args{schedule};
	my $more = join '', map { ", $_ => $args{$_}" } sort keys %args;
	ask("SELECT aggjobs_create_job('$job', @{[ $schedule // 'NULL' ]}, " . steps_of(@$commands) . "$more)");
	return;
}

sub wait_until_over
{
	my ($job) = @_;

	wait_for($node, $db, qq{SELECT NOT EXISTS (SELECT FROM aggjobs.runs
		WHERE job_name = '$job' AND status IN ('queued', 'running'))}, "$job is tried no more");
	return;
}

# Trigger a job and wait until it is tried no more.
sub try_all
{
	my ($job) = @_;

	trigger($node, $db, $job);
	wait_until_over($job);
	return attempts_of($job);
}

# Trigger a job and wait until that run is over; the clock stands, so that
# another attempt can only wait.
sub try_once
{
	my ($job) = @_;

	is((run_to_end($node, $db, $job))[1], 'failed', "$job fails");
	return;
}

# Move the clock to when the last attempt is ready, if that is not past, and wait
# for its end.
sub let_it_try
{
	my ($job) = @_;
	my ($run, $ready_at) = split /\|/, ask(qq{
		SELECT run_id, greatest(ready_at, testing.now()) FROM aggjobs.runs WHERE job_name = '$job' ORDER BY run_id DESC LIMIT 1});

	set_clock($node, $db, $ready_at);
	return wait_for_end($node, $db, $run);
}

sub drop_all
{
	# What waits is cancelled with its job.
	ask('SELECT aggjobs_drop_job(job_name) FROM aggjobs.jobs; TRUNCATE effect, fault');
	return;
}

# All classes of the table of error codes in the server's manual, and of those
# that are not of one kind each of their codes.  From the manual of the jobs:
# errors that pass are tried again unless the job says no, errors that stay
# never, all others if the job says so.
my %SQLSTATES = (
	passes => [ qw(
		08000 08001 08003 08004 08006 08007 08P01
		40000 40001 40002 40003 40P01
		53000 53100 53200 53300 53400
		55006 55P03
		57P01 57P02 57P03 57P04 57P05
		58030 72000) ],
	stays => [ qw(
		0A000
		25000 25001 25006 25P01 25P02 25P03
		28000 28P01 2B000 2BP01 3D000 3F000
		42000 42501 42601 42703 42704 42804 42883 42P01 42P07 42P17
		AJ001) ],
	other => [ qw(
		01000 02000 03000 09000 0B000 0F000 0L000 0P000 0Z000 20000
		21000 22000 22003 22012 22P02 23000 23502 23503 23505 23514 23P01 24000 26000 27000
		2D000 2F000 34000 38000 39000 3B000
		44000 54000 54001 55000 55P02 55P04 57000
		58000 58P01 58P02 F0000 HV000 P0000 P0001 P0004 XX000 XX001 AJ000 AJ003) ]);
my %TRIED_AGAIN = (
	passes => 'by itself: yes, if asked: yes, if told not to: no',
	stays => 'by itself: no, if asked: no, if told not to: no',
	other => 'by itself: no, if asked: yes, if told not to: no');
my %SAID = ('by itself' => 'NULL', 'if asked' => '1', 'if told not to' => '0');

subtest 'which errors are worth another attempt' => sub {
	my $values = join ', ', map { my $kind = $_; map { "('$_', '$kind')" } @{ $SQLSTATES{$kind} } } sort keys %SQLSTATES;
	my $said = join ', ', map { "('$_', $SAID{$_}::int)" } sort keys %SAID;

	at('00:00:00');
	ask(qq{
		CREATE TABLE expected AS SELECT * FROM (VALUES $values) AS e (sqlstate, kind);
		SELECT aggjobs_create_job(sqlstate || ' ' || how, NULL, jsonb_build_array(jsonb_build_object('kind', 'command', 'command',
			format('DO ''BEGIN RAISE EXCEPTION USING ERRCODE = ''%L''; END''', sqlstate))), retries => number)
		FROM expected, (VALUES $said) AS s (how, number);
		SELECT aggjobs_trigger(job_name) FROM aggjobs.jobs});
	wait_for($node, $db, q{SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE attempt = 1 AND status IN ('queued', 'running'))});
	is( ask(q{SELECT string_agg(job_name || ': ' || concat_ws(' ', status, sqlstate), ', ') FROM aggjobs.runs
			WHERE attempt = 1 AND (status <> 'failed' OR sqlstate <> left(job_name, 5))}),
		'', 'each job failed with its error');
	is(ask('SELECT count(*) / 3 = (SELECT count(*) FROM expected) FROM aggjobs.runs WHERE attempt = 1'), 't', 'and only once');
	for my $kind (sort keys %TRIED_AGAIN)
	{
		is( ask(qq{
				SELECT string_agg(sqlstate || ' ' || tried, '; ' ORDER BY sqlstate) FROM (
					SELECT e.sqlstate, string_agg(s.how || ': ' || CASE WHEN EXISTS (SELECT FROM aggjobs.runs r
							WHERE r.job_name = e.sqlstate || ' ' || s.how AND r.attempt = 2 AND r.status = 'queued') THEN 'yes' ELSE 'no' END,
							', ' ORDER BY how) AS tried
					FROM expected e, (VALUES $said) AS s (how, number) WHERE e.kind = '$kind' GROUP BY 1) AS t
				WHERE tried <> '$TRIED_AGAIN{$kind}'}),
			'', "errors that are of the kind '$kind': $TRIED_AGAIN{$kind}");
	}
	drop_all();
};

subtest 'how often' => sub {
	set_clock($node, $db, undef);
	add_steps('passes', [ raise('40P01') ], retry_delay => q{'20 ms'});
	is(try_all('passes'), '1 failed, 2 failed, 3 failed, 4 failed', 'errors that pass: three more attempts');
	add_steps('asked', [ raise('22012') ], retries => 2, retry_delay => q{'20 ms'});
	is(try_all('asked'), '1 failed, 2 failed, 3 failed', 'other errors: as many as the job says');
	add_steps('slow', [ $FOREVER ], retries => 1, retry_delay => q{'20 ms'}, timeout => q{'50 ms'});
	is(try_all('slow'), '1 timed_out, 2 timed_out', 'so with the time limit');
	add_steps('slow once', [ $FOREVER ], retry_delay => q{'20 ms'}, timeout => q{'50 ms'});
	is(try_all('slow once'), '1 timed_out', 'which is not tried again by itself');
	is( ask('SELECT string_agg(DISTINCT failures_in_a_row::text, NULL) FROM aggjobs.jobs'),
		'1', 'all attempts at a run are one failure');
	is( ask(q{SELECT count(*) FROM aggjobs.runs r JOIN aggjobs.runs b ON b.run_id = r.retry_of
			WHERE r.trigger = 'retry' AND r.attempt = b.attempt + 1 AND r.triggered_by = 'scheduler'}),
		ask('SELECT count(*) FROM aggjobs.runs WHERE attempt > 1'), 'each tells which run it tries again');
	is( ask(q{SELECT bool_and(r.started_at >= r.ready_at) FROM aggjobs.runs r WHERE r.attempt > 1}),
		't', 'and none begins before it is ready');

	my $again = ask(q{SELECT aggjobs_retry((SELECT min(run_id) FROM aggjobs.runs WHERE job_name = 'slow once'))});
	is(wait_for_end($node, $db, $again), 'timed_out', 'aggjobs_retry() tries again what ended for good');
	is(attempts_of('slow once'), '1 timed_out, 2 timed_out', 'as the next attempt');
	is(check_invariants($node, $db), '', 'all is as it should be');
	drop_all();
};

# How long each attempt waited, in seconds, against its bounds: up to a half is
# taken off at random.
sub delays_are
{
	my ($job, @longest) = @_;
	my @delays = split /\n/, ask(qq{
		SELECT extract(epoch FROM r.ready_at - b.ended_at) FROM aggjobs.runs r
			JOIN aggjobs.runs b ON b.run_id = r.retry_of WHERE r.job_name = '$job' ORDER BY r.attempt});

	is(scalar @delays, scalar @longest, "$job: so many attempts");
	for my $i (0 .. $#longest)
	{
		ok($delays[$i] >= $longest[$i] / 2 && $delays[$i] <= $longest[$i], "attempt @{[ $i + 2 ]}: up to $longest[$i] s")
		  or diag("$delays[$i] s");
	}
	return;
}

subtest 'how long they wait' => sub {
	at('01:00:00');
	add_steps('usual', [ raise('40001') ], retries => 7);
	add_steps('own', [ raise('40001') ], retries => 5, retry_delay => q{'100 s'}, retry_delay_limit => q{'10 min'});
	for my $job ('usual', 'own')
	{
		try_once($job);
		let_it_try($job) for 1 .. ($job eq 'usual' ? 7 : 5);
	}
	delays_are('usual', 1, 2, 4, 8, 16, 30, 30);
	delays_are('own', 100, 200, 400, 600, 600);

	add_steps("together $_", [ raise('40001') ], retry_delay => q{'1 hour'}, retry_delay_limit => q{'1 hour'}) for 1 .. 8;
	try_once("together $_") for 1 .. 8;
	is(ask(q{SELECT count(DISTINCT ready_at) > 4 FROM aggjobs.runs WHERE job_name LIKE 'together %' AND status = 'queued'}),
		't', 'what failed together does not come back together');

	# Nothing but the clock keeps it waiting.
	add_steps('another', ['SELECT 1']);
	set_clock($node, $db, ask(q{SELECT min(ready_at) - interval '1 second' FROM aggjobs.runs WHERE job_name LIKE 'together %'}));
	is((run_to_end($node, $db, 'another'))[1], 'succeeded', 'a second too early, other runs have their turn');
	is(ask(q{SELECT count(*) FROM aggjobs.runs WHERE job_name LIKE 'together %' AND status = 'queued'}), 8, 'and they wait');

	my $waiting = ask(q{SELECT run_id FROM aggjobs.runs WHERE job_name = 'together 1' AND status = 'queued'});
	is(ask("SELECT aggjobs_cancel($waiting)"), 't', 'one that waits can be cancelled');
	is(attempts_of('together 1'), '1 failed, 2 cancelled', 'then there is no other');
	drop_all();
};

subtest 'where the next attempt begins' => sub {
	my $commands = sub {
		my ($job) = @_;
		return [ effect($job, 1), effect($job, 2) . ';' . fails_until_mended($job), effect($job, 3) ];
	};

	at('02:00:00');
	for my $job ('as it was', 'described anew', 'changed')
	{
		add_steps($job, $commands->($job));
		try_once($job);
		is(effects_of($job), '1 1', 'after the step before');
		mend($job);
	}
	ask(q{SELECT aggjobs_alter_job('described anew', description => 'another', retry_delay => '2 seconds')});
	ask(q{SELECT aggjobs_alter_job('changed', steps => } . steps_of(effect('changed', 4), effect('changed', 5)) . ')');

	for my $job ('as it was', 'described anew')
	{
		is(let_it_try($job), 'succeeded', 'the second attempt succeeds');
		is(effects_of($job), '1 1, 2 1, 3 1', "$job: it goes on with the step that failed, and none is done twice");
		is(ask(qq{SELECT jsonb_array_length(steps) FROM aggjobs.runs WHERE job_name = '$job' AND attempt = 2}),
			3, 'it tells the results of all steps');
	}
	is(let_it_try('changed'), 'succeeded', 'with other steps it succeeds');
	is(effects_of('changed'), '1 1, 4 1, 5 1', 'and begins anew, since they are others');
	is(ask(q{SELECT jsonb_array_length(steps) FROM aggjobs.runs WHERE job_name = 'changed' AND attempt = 2}),
		2, 'it tells the results of these');
	drop_all();
};

subtest 'a slot that comes while an attempt waits' => sub {
	at('03:00:30');
	for my $overlap ('skip', 'queue', 'replace')
	{
		add_steps($overlap, [ fails_until_mended($overlap) ], overlap => qq{'$overlap'}, schedule => q{'*/10 * * * *'},
			retry_delay => q{'1 hour'}, retry_delay_limit => q{'1 hour'});
	}
	my $rows_of = sub {
		return ask(qq{SELECT string_agg(concat_ws(' ', to_char(slot, 'HH24:MI'), attempt, status), ', ' ORDER BY run_id)
			FROM aggjobs.runs WHERE job_name = '$_[0]'});
	};
	my $all_told = sub {
		wait_for($node, $db, q{SELECT NOT EXISTS (SELECT FROM aggjobs.jobs WHERE next_run_at <= testing.now())
			AND NOT EXISTS (SELECT FROM aggjobs.runs WHERE status IN ('queued', 'running') AND attempt = 1)});
	};

	at('03:10:00');
	$all_told->();
	is($rows_of->($_), '03:10 1 failed, 03:10 2 queued', "$_: an attempt waits") for 'skip', 'queue', 'replace';
	mend($_) for 'skip', 'queue', 'replace';
	at('03:20:00');
	$all_told->();
	is($rows_of->('skip'), '03:10 1 failed, 03:10 2 queued, 03:20 1 skipped', 'skip: the slot is skipped');
	is($rows_of->('queue'), '03:10 1 failed, 03:10 2 queued, 03:20 1 skipped', 'queue: one waits already');
	is($rows_of->('replace'), '03:10 1 failed, 03:10 2 cancelled, 03:20 1 succeeded', 'replace: the slot takes its place');
	is( ask(q{SELECT string_agg(DISTINCT note, '; ' ORDER BY note) FROM aggjobs.runs
			WHERE job_name IN ('skip', 'queue', 'replace') AND status IN ('skipped', 'cancelled')}),
		'an earlier run of the job was not over; an earlier run of the job was waiting; replaced by a later slot', 'the reason is told');
	is(check_invariants($node, $db), '', 'all is as it should be');
	drop_all();
};

subtest 'what is not tried again' => sub {
	at('04:00:00');
	add_steps('called', [ raise('40001') ]);
	is((sqlstate_of($node, $db, q{CALL aggjobs_run('called');}))[0], '40001', 'CALL aggjobs_run(): the caller has the error');
	is(attempts_of('called'), '1 failed', 'and the run is told, once');

	my $gate = $node->background_psql($db);
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	for my $job ('paused', 'cancelled', 'terminated')
	{
		add_steps($job, [ 'SELECT pg_advisory_xact_lock_shared(1)', raise('40001') ], retries => 5);
		my $run = trigger($node, $db, $job);
		my $pid = wait_in_command($node, $db, $run);
		ask("SELECT aggjobs_cancel($run)") if $job eq 'cancelled';
		ask("SELECT pg_terminate_backend($pid)") if $job eq 'terminated';
		ask(q{SELECT aggjobs_pause('paused')}) if $job eq 'paused';
	}
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	$gate->quit;
	wait_until_over($_) for 'paused', 'cancelled', 'terminated';
	is(attempts_of('paused'), '1 failed', 'a job that was paused meanwhile');
	is(attempts_of('cancelled'), '1 cancelled', 'a run that was cancelled');
	is(attempts_of('terminated'), '1 cancelled', 'a run whose worker was ended');

	# A statement that somebody stops is no failure either, whoever raises it.
	add_steps('stopped', [ raise('57014') ], retries => 5);
	is(try_all('stopped'), '1 cancelled', 'a statement that was stopped');
	is(check_invariants($node, $db), '', 'all is as it should be');
	drop_all();
};

$node->stop;
done_testing();
