# Schedules by the clock on the wall: each kind runs when it should, no job
# runs twice at a time, and what was not run is told.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('schedule_runs');

# Conditions and figures over the runs of one job.
sub runs
{
	my ($job, $expression, $where) = @_;
	return $node->safe_psql('postgres',
		"SELECT $expression FROM aggjobs.runs WHERE job_name = '$job'"
		  . (defined $where ? " AND $where" : ''));
}

sub wait_for_runs
{
	my ($job, $condition) = @_;
	wait_for($node, 'postgres',
		"SELECT $condition FROM aggjobs.runs WHERE job_name = '$job'");
	return;
}

sub set_and_reload
{
	my ($assignment) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM $assignment");
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	return;
}

# All of them at once, so that the test waits for them together.
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
my $at = $node->safe_psql('postgres',
	q{SELECT to_char(date_trunc('second', clock_timestamp()) + interval '3 seconds', 'YYYY-MM-DD HH24:MI:SS')}
);
add_job($node, 'postgres', 'cron', '* * * * * *', 'SELECT 1');
add_job($node, 'postgres', 'grid', 'every 2 seconds', 'SELECT 1');
add_job($node, 'postgres', 'pause', 'after 1 second', 'SELECT 1');
add_job($node, 'postgres', 'once', "at $at", 'SELECT 1');
add_job($node, 'postgres', 'start', '@start', 'SELECT 1');
add_job($node, 'postgres', 'slow', 'every 1 second',
	'SELECT pg_advisory_lock_shared(1)');
add_job($node, 'postgres', 'later', '0 0 1 1 *', 'SELECT 1');

subtest 'cron with six fields, each second' => sub {
	wait_for_runs('cron', q{count(*) FILTER (WHERE status = 'succeeded') >= 4});
	is( runs('cron', q{bool_and(slot = date_trunc('second', slot)
			AND started_at >= slot)}, 'started_at IS NOT NULL'),
		't', 'slots are whole seconds, and never run before their time');
	is( runs('cron', q{count(*) = extract(epoch FROM max(slot) - min(slot)) + 1}),
		't', 'each second has its slot');
};

subtest 'every 2 seconds' => sub {
	wait_for_runs('grid', q{count(*) FILTER (WHERE status = 'succeeded') >= 2});
	is( runs('grid', q{bool_and(extract(epoch FROM slot)::numeric % 2 = 0)}),
		't', 'runs on the grid');
	is( runs('grid', q{count(*) = extract(epoch FROM max(slot) - min(slot)) / 2 + 1}),
		't', 'each point of it has its slot');
};

subtest 'after 1 second' => sub {
	wait_for_runs('pause', q{count(*) FILTER (WHERE status = 'succeeded') >= 3});
	cmp_ok(
		$node->safe_psql('postgres', q{
			SELECT extract(epoch FROM min(pause)) FROM (
				SELECT started_at - lag(ended_at) OVER (ORDER BY run_id) AS pause
				FROM aggjobs.runs WHERE job_name = 'pause'
				  AND started_at IS NOT NULL) AS runs}),
		'>=', 1, 'a second lies between the end of a run and the next');
};

subtest 'at an instant' => sub {
	wait_for_runs('once', q{count(*) FILTER (WHERE status = 'succeeded') = 1});
	is(runs('once', q{to_char(slot, 'YYYY-MM-DD HH24:MI:SS')}),
		$at, 'runs then');
	is( $node->safe_psql('postgres', q{
			SELECT state, next_run_at FROM aggjobs.jobs WHERE job_name = 'once'}),
		'unplanned|', 'and never again');
};

subtest 'a run that takes longer than its schedule' => sub {
	wait_for_runs('slow', q{sum(slots) FILTER (WHERE status = 'skipped') >= 2});
	is(runs('slow', 'count(*)', q{status = 'running'}),
		1, 'the run goes on, alone');
	is(runs('slow', 'count(note)', q{status = 'skipped'}),
		1, 'slots that come meanwhile are skipped, in one row that says why');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	wait_for_runs('slow', q{count(*) FILTER (WHERE status = 'succeeded') >= 2});
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM aggjobs.runs a
				JOIN aggjobs.runs b ON a.job_name = b.job_name AND a.run_id < b.run_id
				 AND (a.started_at, a.ended_at) OVERLAPS (b.started_at, b.ended_at)
			WHERE a.started_at IS NOT NULL AND b.started_at IS NOT NULL}),
		0, 'no two runs of a job ever went on at once');
	$node->safe_psql('postgres', q{SELECT aggjobs_drop_job('slow')});
};

subtest 'pause, resume and change' => sub {
	$node->safe_psql('postgres', q{SELECT aggjobs_pause('cron')});
	my $last = runs('cron', 'max(slot)');
	wait_for_runs('grid', "max(slot) > '$last'::timestamptz + interval '2 seconds'");
	# A slot may have been on its way when the job was paused, no more.
	cmp_ok(runs('cron', 'count(*)', "slot > '$last'"),
		'<=', 1, 'a paused job gets no slots');
	is( $node->safe_psql('postgres',
			q{SELECT state FROM aggjobs.jobs WHERE job_name = 'cron'}),
		'paused', 'and is shown as paused');
	$node->safe_psql('postgres', q{SELECT aggjobs_resume('cron')});
	my $resumed = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	wait_for_runs('cron',
		"count(*) FILTER (WHERE status = 'succeeded' AND slot > '$resumed') >= 1");
	is(runs('cron', 'count(*)', q{status = 'missed'}),
		0, 'what passed in the pause was not missed');

	is(runs('later', 'count(*)'), 0, 'a job that is not due has not run');
	$node->safe_psql('postgres',
		q{SELECT aggjobs_alter_job('later', schedule => 'every 1 second')});
	wait_for_runs('later', q{count(*) FILTER (WHERE status = 'succeeded') >= 1});
	$node->safe_psql('postgres', q{SELECT aggjobs_drop_job('later')});
};

subtest 'aggjobs.enabled' => sub {
	set_and_reload('SET aggjobs.enabled = off');
	wait_for_runs('cron',
		q{max(queued_at) < clock_timestamp() - interval '2.5 seconds'});
	pass('off stops a job that runs each second');
	my $run = trigger($node, 'postgres', 'once');
	my $state = $node->safe_psql('postgres', "SELECT aggjobs_wait($run, '300 ms')");
	is($state, 'queued', 'a triggered run waits');
	set_and_reload('RESET aggjobs.enabled');
	is(wait_for_end($node, 'postgres', $run), 'succeeded', 'on lets it run');
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	wait_for_runs('cron', "max(slot) > '$now' AND bool_or(status = 'succeeded' AND slot > '$now')");
	pass('and slots go on');
};

subtest 'the history is pruned' => sub {
	my ($keep, $runs) = (5, 45);
	add_job($node, 'postgres', 'pruned', undef, 'SELECT 1', keep_successes => $keep);
	my ($first, $last) = split /\|/, $node->safe_psql('postgres', qq{
		SELECT min(r), max(r) FROM (SELECT aggjobs_trigger('pruned') AS r
			FROM generate_series(1, $runs)) AS t});
	is(wait_for_end($node, 'postgres', $last), 'succeeded', 'many runs end');
	# It is done now and then, so a few more than wanted may be there.
	wait_for_runs('pruned', "count(*) BETWEEN $keep AND $keep + 20");
	is(runs('pruned', 'max(run_id)'), $last, 'the newest runs are kept');
	is(runs('pruned', 'count(*)', "run_id = $first"), 0, 'the oldest go');

	add_job($node, 'postgres', 'called', undef, 'SELECT 1', keep_successes => $keep);
	$node->safe_psql('postgres', q{CALL aggjobs_run('called');} x $runs);
	wait_for_runs('called', "count(*) BETWEEN $keep AND $keep + 20");
	pass('those of sessions, too');
};

subtest 'slots that passed while the server was down' => sub {
	add_job($node, 'postgres', 'down', 'every 1 minute', 'SELECT 1');
	set_and_reload('SET aggjobs.enabled = off');
	# As if it had been down for an hour: nobody sees this before the restart.
	my $late = $node->safe_psql('postgres', q{
		UPDATE aggjobs.job_state SET next_slot = date_trunc('minute', now()) - interval '1 hour'
		WHERE job_id = (SELECT job_id FROM aggjobs.jobs WHERE job_name = 'down')
		RETURNING next_slot});
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET aggjobs.enabled');
	$node->restart;

	wait_for_runs('down', q{count(*) FILTER (WHERE status = 'succeeded') >= 1});
	is(runs('down', 'count(*)', q{status = 'missed'}),
		1, 'all but the last are told in one row');
	is( runs('down', "slot = '$late'::timestamptz", q{status = 'missed'}),
		't', 'which stands at the first of them');
	like(runs('down', 'slots', q{status = 'missed'}),
		qr/^(59|60|61)$/, 'and tells how many there were');
	is( runs('down', q{min(slot) = (SELECT until_slot + interval '1 minute' FROM aggjobs.runs
			WHERE job_name = 'down' AND status = 'missed')}, q{status = 'succeeded'}),
		't', 'the last is run late');
	like(
		$node->safe_psql('postgres', q{
			SELECT next_run_at - clock_timestamp() FROM aggjobs.jobs
			WHERE job_name = 'down'}),
		qr/^00:00:|^00:01:00/, 'the next slot lies ahead');
};

subtest '@start' => sub {
	wait_for_runs('start', q{count(*) FILTER (WHERE status = 'succeeded') >= 1});
	is(runs('start', 'count(*)'), 1,
		'runs when the server starts, and not when the job is made');
	my $pid = scheduler_pid($node, 'postgres');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");
	wait_for_scheduler($node, 'postgres');
	is(runs('start', 'count(*)'), 1,
		"not when the scheduler was ended and started again");
	$node->restart;
	wait_for_runs('start', q{count(*) FILTER (WHERE status = 'succeeded') = 2});
	pass('once for each start');
};

leave($gate);
$node->stop;
done_testing();
