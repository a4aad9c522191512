# A clock that is set, slots that meet a run; whose turn it is, and after whom.
# The clock is the test's.  Slots that passed: downtime.pl.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('policies', conf => <<'CONF');
aggjobs.max_workers = 4
aggjobs.cancel_grace = 300ms
CONF
my $db = 'postgres';
install_testing($node, $db);

# The clock stands still at an instant; the scheduler has looked at it.
sub at { return set_time($node, $db, @_); }

# The rows of a job, as one text: "slot status slots until".
sub rows_of
{
	my ($job) = @_;

	return $node->safe_psql($db, qq{
		SELECT string_agg(concat_ws(' ', to_char(slot, 'HH24:MI'), status,
				nullif(slots, 1), to_char(until_slot, 'HH24:MI')), ', ' ORDER BY run_id)
		FROM aggjobs.runs WHERE job_name = '$job' AND trigger = 'schedule'});
}

sub settle { return wait_until_settled($node, $db); }

sub drop_all
{
	$node->safe_psql($db, 'SELECT aggjobs_drop_job(job_name) FROM aggjobs.jobs');
	return;
}

sub count_of
{
	my ($what, $from) = @_;

	return $node->safe_psql($db, "SELECT $what FROM $from");
}

at('00:00:30');
$node->safe_psql($db, 'CREATE TABLE effect (job text, step integer, at timestamptz DEFAULT clock_timestamp())');

subtest 'a clock that is set forward and back' => sub {
	add_job($node, $db, 'last', '*/10 * * * *', 'SELECT 1');
	at('00:10:00');
	settle();
	at('01:30:00');
	settle();
	is(rows_of('last'), '00:10 succeeded, 00:20 missed 7 01:20, 01:30 succeeded', 'set forward: slots were missed');
	at('00:30:00');
	my ($run, $status) = run_to_end($node, $db, 'last');
	is($status, 'succeeded', 'set back: the scheduler is at work');
	at('01:30:00');
	settle();
	is(rows_of('last'), '00:10 succeeded, 00:20 missed 7 01:20, 01:30 succeeded', 'and no slot comes twice');
	at('01:40:00');
	settle();
	like(rows_of('last'), qr/01:40 succeeded$/, 'the next one does');
	is(check_invariants($node, $db), '', 'all is as it should be');
	drop_all();
};

subtest 'years of downtime' => sub {
	set_clock($node, $db, '2030-06-01 00:00:30+00');
	add_job($node, $db, 'minute', '* * * * *', 'SELECT 1');
	set_clock($node, $db, '2050-06-01 00:00:30+00');
	settle();
	is( count_of(q{string_agg(status || ' ' || slots, ', ' ORDER BY run_id)}, q{aggjobs.runs WHERE job_name = 'minute'}),
		'missed 10519199, succeeded 1', '20 years of a minute job are two rows');
	drop_all();
	at('02:00:30');
};

subtest 'slots that meet a run' => sub {
	my $gate = $node->background_psql($db);
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	for my $overlap ('skip', 'queue', 'replace')
	{
		add_job($node, $db, "o $overlap", '*/10 * * * *', 'SELECT pg_advisory_xact_lock_shared(1)',
			overlap => qq{'$overlap'});
	}
	for my $minute (10, 20, 30, 40)
	{
		at("02:$minute:00");
		wait_for($node, $db, q{
			SELECT NOT EXISTS (SELECT FROM aggjobs.jobs WHERE next_run_at <= testing.now())
			   AND count(*) = 3 FROM aggjobs.runs WHERE status = 'running'}, 'three runs wait');
		wait_for($node, $db, qq{
			SELECT EXISTS (SELECT FROM aggjobs.runs r JOIN pg_stat_activity a ON a.pid = r.worker_pid
				WHERE job_name = 'o replace' AND r.status = 'running' AND a.wait_event = 'advisory'
				  AND slot = '2030-01-01 02:$minute+00')});
	}
	is(rows_of('o skip'), '02:10 running, 02:20 skipped 3 02:40', 'skip: they are skipped, in one row');
	is(rows_of('o queue'), '02:10 running, 02:20 queued, 02:30 skipped 2 02:40', 'queue: one waits, the others are skipped');
	is(rows_of('o replace'), '02:10 cancelled, 02:20 cancelled, 02:30 cancelled, 02:40 running',
		'replace: each takes the place of the one before');
	is( count_of('string_agg(DISTINCT note, NULL)', q{aggjobs.runs WHERE job_name = 'o replace' AND status = 'cancelled'}),
		'replaced by a later slot', 'and this is told');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	$gate->quit;
	settle();
	is(rows_of('o queue'), '02:10 succeeded, 02:20 succeeded, 02:30 skipped 2 02:40', 'the one that waited is run');
	is(check_invariants($node, $db), '', 'all is as it should be');
	drop_all();
};

subtest 'a slot that finds no worker before its deadline' => sub {
	my $gate = $node->background_psql($db);
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	$node->safe_psql($db, q{SELECT aggjobs_set_queue('one', 1)});
	add_job($node, $db, 'holder', undef, 'SELECT pg_advisory_xact_lock_shared(1)', queue => q{'one'});
	my $holder = trigger($node, $db, 'holder');
	wait_in_command($node, $db, $holder);
	add_job($node, $db, 'waiter', '*/10 * * * *', 'SELECT 1', queue => q{'one'}, start_deadline => q{'3 minutes'});
	at('02:50:00');
	wait_for($node, $db, q{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'waiter' AND status = 'queued')});
	at('02:53:01');
	wait_for($node, $db, q{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'waiter' AND status = 'missed')});
	is(count_of('note', q{aggjobs.runs WHERE job_name = 'waiter'}), 'not started before its starting deadline', 'is missed');
	$gate->quit;
	is(wait_for_end($node, $db, $holder), 'succeeded', 'the other run is not disturbed');
	drop_all();
	$node->safe_psql($db, q{SELECT aggjobs_drop_queue('one')});
};

# From here on the time is the real one.
set_clock($node, $db, undef);

subtest 'queues' => sub {
	my $gate = $node->background_psql($db);
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	$node->safe_psql($db, q{SELECT aggjobs_set_queue('two', 2)});
	add_job($node, $db, "q $_", undef, 'SELECT pg_advisory_xact_lock_shared(1)', queue => q{'two'}) for 1 .. 3;
	add_job($node, $db, 'free', undef, 'SELECT 1');
	trigger($node, $db, "q $_") for 1 .. 3;
	wait_for($node, $db, q{SELECT running = 2 AND waiting = 1 FROM aggjobs.queues WHERE queue_name IS NOT NULL});
	is((run_to_end($node, $db, 'free'))[1], 'succeeded', 'a full queue holds up only its own jobs');
	is(count_of('running || \' \' || waiting', 'aggjobs.queues WHERE queue_name IS NOT NULL'), '2 1', 'and no more than its limit go on');
	$node->safe_psql($db, q{SELECT aggjobs_set_queue('two', 3)});
	wait_for($node, $db, q{SELECT running = 3 FROM aggjobs.queues WHERE queue_name IS NOT NULL});
	pass('a greater limit counts at once');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	settle();

	# One worker, and a line before it.
	$node->safe_psql($db, q{SELECT aggjobs_set_queue('two', 1)});
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $first = trigger($node, $db, 'q 1');
	wait_in_command($node, $db, $first);
	add_job($node, $db, 'usual', undef, 'SELECT 1', queue => q{'two'});
	add_job($node, $db, 'urgent', undef, 'SELECT 1', queue => q{'two'}, priority => 10);
	add_job($node, $db, 'humble', undef, 'SELECT 1', queue => q{'two'}, priority => -10);
	my %run = map { $_ => trigger($node, $db, $_) } 'humble', 'usual', 'urgent';
	# One that has waited longer than the urgent one is worth.
	$node->safe_psql($db, qq{UPDATE aggjobs.run SET queued_at = queued_at - interval '11 minutes' WHERE run_id = $run{usual};
		SELECT aggjobs_set_queue('two', 1)});
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	$gate->quit;
	settle();
	is( count_of(q{string_agg(job_name, ', ' ORDER BY started_at)},
			q{aggjobs.runs WHERE job_name IN ('humble', 'usual', 'urgent')}),
		'usual, urgent, humble', 'priority counts as minutes of waiting');
	drop_all();
	$node->safe_psql($db, q{SELECT aggjobs_drop_queue('two')});
};

subtest 'all workers together' => sub {
	my $gate = $node->background_psql($db);
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	add_job($node, $db, "w $_", undef, 'SELECT pg_advisory_xact_lock_shared(1)') for 1 .. 10;
	$node->safe_psql($db, q{SELECT aggjobs_trigger('w ' || i) FROM generate_series(1, 10) AS i});
	wait_for($node, $db, q{SELECT count(*) >= 4 FROM pg_stat_activity
		WHERE backend_type = 'pg_aggjobs worker' AND wait_event = 'advisory'});
	$node->safe_psql($db, q{SELECT aggjobs_cancel(max(run_id)) FROM aggjobs.runs WHERE status = 'queued'});
	is(count_of('count(*)', 'aggjobs.workers'), 4, 'are no more than aggjobs.max_workers');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	$gate->quit;
	settle();
	is(count_of(q{count(*) FILTER (WHERE status = 'succeeded')}, q{aggjobs.runs WHERE job_name LIKE 'w %'}), 9, 'all have their turn');
	is( count_of('max(n)', q{(SELECT sum(step) OVER (ORDER BY moment, step) AS n FROM aggjobs.runs,
			LATERAL (VALUES (started_at, 1), (ended_at, -1)) AS v (moment, step)
			WHERE job_name LIKE 'w %' AND started_at IS NOT NULL) AS c}),
		4, 'and no more went on at once');
	drop_all();
};

subtest 'workers that are kept' => sub {
	my $pid_of = sub { run_field($node, $db, $_[0], 'worker_pid') };

	$node->append_conf('postgresql.conf', 'aggjobs.worker_idle = 100ms');
	$node->reload;
	$node->safe_psql($db, q{SELECT aggjobs_set_queue('warm', 2, 1)});
	add_job($node, $db, 'warm', undef, 'SELECT 1', queue => q{'warm'});
	add_job($node, $db, 'cold', undef, 'SELECT 1');
	my ($cold) = run_to_end($node, $db, 'cold');
	wait_for($node, $db, q{SELECT NOT EXISTS (SELECT FROM aggjobs.workers)});
	pass('a worker without queue ends when idle');
	my ($warm) = run_to_end($node, $db, 'warm');
	($cold) = run_to_end($node, $db, 'cold');
	is($pid_of->($cold), $pid_of->($warm), 'one that is kept takes other runs of its owner');
	($warm) = run_to_end($node, $db, 'warm');
	my $kept = $pid_of->($warm);
	# Longer than it would be idle: other workers come and go.
	$node->safe_psql($db, q{CREATE ROLE guest LOGIN});
	add_job($node, $db, 'guest', undef, 'SELECT 1', owner => q{'guest'});
	for (1 .. 2)
	{
		run_to_end($node, $db, 'guest');
		wait_for($node, $db, q{SELECT NOT EXISTS (SELECT FROM aggjobs.workers WHERE owner = 'guest'::regrole)});
	}
	($warm) = run_to_end($node, $db, 'warm');
	is($pid_of->($warm), $kept, 'and is still there');
	drop_all();
	$node->safe_psql($db, q{SELECT aggjobs_drop_queue('warm')});
	$node->append_conf('postgresql.conf', 'aggjobs.worker_idle = 5s');
	$node->reload;
};

subtest 'nice' => sub {
	my $gate = $node->background_psql($db);
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	add_job($node, $db, 'kind', undef, 'SELECT pg_advisory_xact_lock_shared(1)', nice => 7);
	add_job($node, $db, 'plain', undef, 'SELECT 1');
	my $run = trigger($node, $db, 'kind');
	my $pid = wait_in_command($node, $db, $run);
	my $stat = slurp_file("/proc/$pid/stat");
	is((split ' ', $stat =~ s/.*\) //r)[16], 7, 'the process of the run is as nice as the job says');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	$gate->quit;
	is(wait_for_end($node, $db, $run), 'succeeded', 'it runs');
	my ($next) = run_to_end($node, $db, 'plain');
	isnt(run_field($node, $db, $next, 'worker_pid'), $pid, 'and no other run is in that process');
	drop_all();
};

subtest 'order' => sub {
	add_job($node, $db, 'a', undef, 'SELECT 1');
	add_job($node, $db, 'b', undef, 'SELECT 1');
	add_job($node, $db, 'fails', undef, 'SELECT 1/0');
	add_job($node, $db, 'c', undef, q{INSERT INTO effect VALUES ('c', 1)}, after => q{'{a,b}'});
	add_job($node, $db, 'd', undef, q{INSERT INTO effect VALUES ('d', 1)}, after => q{'{c}'});
	add_job($node, $db, 'e', undef, q{INSERT INTO effect VALUES ('e', 1)}, after => q{'{fails}'});
	my $count = sub { count_of(q{count(*)}, "aggjobs.runs WHERE job_name = '$_[0]'") };

	run_to_end($node, $db, 'a');
	run_to_end($node, $db, 'a');
	run_to_end($node, $db, 'fails');
	settle();
	is($count->('c') . $count->('d') . $count->('e'), '000', 'one of two is not enough, nor is a failure');
	run_to_end($node, $db, 'b');
	settle();
	is($count->('c') . $count->('d') . $count->('e'), '110', 'both are, and success goes on to any depth');
	is( count_of(q{string_agg(job_name || ' ' || trigger, ', ' ORDER BY run_id)}, q{aggjobs.runs WHERE job_name IN ('c', 'd')}),
		'c dependency, d dependency', 'the runs tell why');
	run_to_end($node, $db, 'b');
	settle();
	is($count->('c'), 1, 'and it begins anew');
	$node->safe_psql($db, q{SELECT aggjobs_trigger(j) FROM unnest('{a,b}'::text[]) j, generate_series(1, 5)});
	settle();
	cmp_ok($count->('c'), '>=', 2, 'a job that waits is not queued twice');
	$node->safe_psql($db, q{SELECT aggjobs_pause('c')});
	my $before = $count->('c');
	run_to_end($node, $db, $_) for 'a', 'b';
	settle();
	is($count->('c'), $before, 'a paused job is not queued');

	# Both end at the same moment: the second must see the first.
	$node->safe_psql($db, q{SELECT aggjobs_resume('c')});
	run_to_end($node, $db, $_) for 'a', 'b';
	settle();
	$before = $count->('c');
	arm($node, $db, 'worker before commit: SELECT 1', 'wait', times => 2);
	my @runs = map { trigger($node, $db, $_) } 'a', 'b';
	wait_for($node, $db, q{SELECT testing.waiting('worker before commit: SELECT 1') >= 1});
	release($node, $db, 'worker before commit: SELECT 1');
	wait_for_end($node, $db, $_) for @runs;
	settle();
	is($count->('c'), $before + 1, 'of two successes at once one queues it');
	drop_all();
};

subtest 'a worker that reacts to nothing' => sub {
	my $health = sub { count_of('state', q{aggjobs.health WHERE check_name = 'unresponsive'}) };

	# Its time limit is over once the clock is set on, and that is when it is stopped.
	at('05:00:00');
	add_job($node, $db, 'deaf', undef, $FOREVER, timeout => q{'1 minute'});
	my $since = -s $node->logfile;
	my $run = trigger($node, $db, 'deaf');
	my $pid = wait_in_command($node, $db, $run);
	kill 'STOP', $pid;
	at('05:00:59');
	is(count_of('state', "aggjobs.workers WHERE pid = $pid"), 'running', 'within its time limit it is let be');
	# Each time the scheduler looks, it is a grace later.
	for (['05:01:00', 'cancelling'], ['05:01:02', 'terminating'], ['05:01:04', 'unresponsive'])
	{
		my ($time, $next) = @$_;

		at($time);
		wait_for($node, $db, qq{SELECT state = '$next' FROM aggjobs.workers WHERE pid = $pid}, "it is $next");
		is($health->(), $next eq 'unresponsive' ? 'failing' : 'ok', "$next: what health tells of it");
	}
	at('05:01:06');
	$node->wait_for_log(qr/worker with PID $pid does not react to SIGTERM/, $since);
	# Others look again meanwhile.
	add_job($node, $db, 'another', undef, 'SELECT 1');
	is((run_to_end($node, $db, 'another'))[1], 'succeeded', 'other jobs go on');
	is(run_field($node, $db, $run, 'status'), 'running', 'its run goes on');
	kill 'CONT', $pid;
	is(wait_for_end($node, $db, $run), 'timed_out', 'it ends as soon as it goes on');
	wait_for($node, $db, q{SELECT state = 'ok' FROM aggjobs.health WHERE check_name = 'unresponsive'});
	my @told = slurp_file($node->logfile, $since) =~ /does not react to SIGTERM/g;
	is(scalar @told, 1, 'the log has told of it once');
	unlike(slurp_file($node->logfile, $since), qr/terminated by signal/, 'and nobody has killed it');
	set_clock($node, $db, undef);
};

is(check_invariants($node, $db), '', 'all is as it should be in the end');
$node->stop;
done_testing();
