# Triggers, cancels and marks of late rows belong to the transaction that makes
# them, whichever way it ends.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# One worker runs one thing after the other, in the order of the queue.
my $node =
  new_node('transactional_trigger', conf => "aggjobs.max_workers = 1\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_aggjobs;
	SELECT aggjobs_pause(NULL);
	CREATE TABLE ran (who text)});
wait_for_scheduler($node, 'postgres');
for my $job ('a', 'b')
{
	add_job($node, 'postgres', $job, undef, "INSERT INTO ran VALUES ('$job')");
}
add_job($node, 'postgres', 'long', undef, $FOREVER);

sub run_count
{
	my ($job) = @_;
	return $node->safe_psql('postgres',
		"SELECT count(*) FROM aggjobs.runs WHERE job_name = '$job'");
}

# What has run so far, and is forgotten then: whatever could run has run before
# the run that is waited for here.
sub ran
{
	run_to_end($node, 'postgres', 'b');
	return $node->safe_psql('postgres', q{
		WITH gone AS (DELETE FROM ran RETURNING who)
		SELECT coalesce(string_agg(who, ' ' ORDER BY who), '') FROM gone})
	  =~ s/ ?b$//r;
}

subtest 'a rolled back trigger' => sub {
	$node->safe_psql('postgres', q{BEGIN; SELECT aggjobs_trigger('a'); ROLLBACK});
	is(ran(), '', 'never runs');
	is(run_count('a'), 0, 'is not in the history');
};

subtest 'a trigger that was rolled back to a savepoint' => sub {
	$node->safe_psql('postgres', q{
		BEGIN;
		SAVEPOINT s;
		SELECT aggjobs_trigger('a');
		ROLLBACK TO s;
		SELECT aggjobs_trigger('b');
		COMMIT});
	is(ran(), 'b', 'never runs, and the others do');
	is(run_count('a'), 0, 'is not in the history');
};

subtest 'a trigger in a savepoint that is released' => sub {
	$node->safe_psql('postgres', q{
		BEGIN;
		SAVEPOINT s;
		SELECT aggjobs_trigger('a');
		RELEASE s;
		COMMIT});
	is(ran(), 'a', 'runs');
};

subtest 'a trigger in a prepared transaction' => sub {
	my $prepare = q{BEGIN; SELECT aggjobs_trigger('a'); PREPARE TRANSACTION 'p'};

	$node->safe_psql('postgres', $prepare);
	is(ran(), '', 'does not run when it is prepared');
	$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
	wait_for($node, 'postgres',
		q{SELECT EXISTS (SELECT FROM ran WHERE who = 'a')});
	is(ran(), 'a', 'runs when that is committed');

	$node->safe_psql('postgres', $prepare);
	$node->safe_psql('postgres', q{ROLLBACK PREPARED 'p'});
	is(ran(), '', 'never runs when that is rolled back');

	$node->safe_psql('postgres', $prepare);
	$node->restart;
	wait_for_scheduler($node, 'postgres');
	$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
	wait_for($node, 'postgres',
		q{SELECT EXISTS (SELECT FROM ran WHERE who = 'a')});
	is(ran(), 'a', 'runs when that is committed after a restart');
};

subtest 'waiting for a run of the own transaction' => sub {
	for my $many (1, 100)
	{
		my ($state, $err) = sqlstate_of($node, 'postgres', qq{
			BEGIN;
			SELECT aggjobs_wait((SELECT max(r) FROM (
				SELECT aggjobs_trigger('a') AS r FROM generate_series(1, $many)) AS t),
				'5 seconds')});
		is($state, '55000', "is an error, after $many triggers");
		like($err, qr/^HINT:  COMMIT first/m, 'with a hint');
	}
	is(ran(), '', 'what was triggered there does not run');
};

subtest 'many triggers in one transaction' => sub {
	$node->safe_psql('postgres',
		q{SELECT aggjobs_trigger('a') FROM generate_series(1, 50)});
	is(ran(), join(' ', ('a') x 50), 'run one after the other');
};

subtest 'cancel of a queued run' => sub {
	my $first = trigger($node, 'postgres', 'long');
	wait_in_command($node, 'postgres', $first);
	my $second = trigger($node, 'postgres', 'long');

	$node->safe_psql('postgres',
		"BEGIN; SELECT aggjobs_cancel($second); ROLLBACK");
	is(run_field($node, 'postgres', $second, 'status'),
		'queued', 'a rolled back one does nothing');
	is($node->safe_psql('postgres', "SELECT aggjobs_cancel($second)"),
		't', 'says that it did');
	is( run_field($node, 'postgres', $second, q{status || ' ' || (started_at IS NULL)}),
		'cancelled true', 'the run is cancelled and was not started');
	is(run_field($node, 'postgres', $first, 'status'),
		'running', 'the one that runs is left alone');
	is($node->safe_psql('postgres', "SELECT aggjobs_cancel($first)"),
		't', 'a running one can be cancelled');
	is(wait_for_end($node, 'postgres', $first), 'cancelled', 'and ends');
	is($node->safe_psql('postgres', "SELECT aggjobs_cancel($first)"),
		'f', 'then there is nothing to cancel any more');
	my ($next) = trigger($node, 'postgres', 'long');
	wait_in_command($node, 'postgres', $next);
	$node->safe_psql('postgres', "SELECT aggjobs_cancel($next)");
	is(wait_for_end($node, 'postgres', $next), 'cancelled', 'the job works on');
};

subtest 'a rolled back cancel of a run that is just starting' => sub {
	# Each run gets a worker of its own, and the cancel comes while that starts.
	$node->safe_psql('postgres', q{
		ALTER SYSTEM SET aggjobs.worker_idle = 0;
		SELECT pg_reload_conf()});
	my %ends;
	for my $i (1 .. 8)
	{
		my $run = $node->safe_psql('postgres', q{
			SELECT aggjobs_trigger('a') AS run \gset
			BEGIN; SELECT aggjobs_cancel(:run) AS said \gset
			ROLLBACK;
			SELECT :run});
		$ends{ wait_for_end($node, 'postgres', $run) }++;
	}
	is_deeply([ grep { !/^(succeeded|cancelled)$/ } keys %ends ],
		[], 'the runs end, cancelled or not, and none is forgotten');
	$node->safe_psql('postgres', q{
		DELETE FROM ran;
		ALTER SYSTEM RESET aggjobs.worker_idle;
		SELECT pg_reload_conf()});
};

subtest 'a dry run' => sub {
	# Every row of ours that it could change.
	my $state = q{
		SELECT md5(string_agg(t::text, '/' ORDER BY t::text)) FROM (
			SELECT r::text FROM aggjobs.run r
			UNION ALL SELECT s::text FROM aggjobs.job_state s
			UNION ALL SELECT c::text FROM aggjobs.change c
			UNION ALL SELECT u::text FROM aggjobs.rollup u
			UNION ALL SELECT h::text FROM aggjobs.hourly_analytics h
			UNION ALL SELECT n::text FROM ran n) AS t};
	$node->safe_psql('postgres', q{
		INSERT INTO aggjobs.execution_spans (span_type, status, started_at)
		VALUES ('agent_run', 'ok', now() - interval '5 hours')});
	my $before = $node->safe_psql('postgres', $state);

	for my $job ('a', 'hourly')
	{
		is( $node->safe_psql('postgres',
				"SELECT aggjobs_trigger('$job', dry_run => true) IS NULL"),
			't', "of $job has no run");
		my ($status, $out, $err) = $node->psql('postgres',
			"CALL aggjobs_run('$job', dry_run => true)");
		like($err, qr/NOTICE: /, 'it tells what would be done');
	}
	is($node->safe_psql('postgres', $state), $before, 'nothing was changed');
	isnt($before, '', 'there was something to change');
	$node->safe_psql('postgres', 'DELETE FROM aggjobs.execution_spans');
	is((run_to_end($node, 'postgres', 'hourly'))[1], 'succeeded', 'clean up');
};

# Late rows: 'hour' is hours ago, and what has been computed must follow what
# is there, neither more nor less.
my @hours = (9, 7, 5);

sub computed
{
	is((run_to_end($node, 'postgres', 'hourly'))[1],
		'succeeded', 'the hours are computed');
	return $node->safe_psql('postgres', q{
		SELECT coalesce(string_agg(executions::text, ' ' ORDER BY bucket), '')
		FROM aggjobs.hourly_analytics});
}

sub raw
{
	return $node->safe_psql('postgres', q{
		SELECT coalesce(string_agg(n::text, ' ' ORDER BY hour), '')
		FROM (SELECT date_trunc('hour', started_at) AS hour, count(*) AS n
			FROM aggjobs.execution_spans GROUP BY 1) AS t});
}

sub changes
{
	return $node->safe_psql('postgres',
		q{SELECT count(*) FROM aggjobs.change WHERE source = 'aggjobs.execution_spans'::regclass});
}

# The hour may end while this test runs.
my $base = $node->safe_psql('postgres', q{SELECT date_trunc('hour', now())});
my $at = "('$base'::timestamptz - interval '%s hours' + interval '10 minutes')";
my $insert = 'INSERT INTO aggjobs.execution_spans (span_type, status, started_at) '
  . "VALUES ('agent_run', 'ok', $at)";
my @writes = (
	[ 'late row', sprintf($insert, $hours[0]) ],
	[ 'row that moves to another hour', sprintf(
			"UPDATE aggjobs.execution_spans SET started_at = $at "
			  . "WHERE span_id = (SELECT max(span_id) FROM aggjobs.execution_spans WHERE started_at = $at)",
			$hours[1], $hours[0]) ],
	[ 'deleted row', sprintf(
			'DELETE FROM aggjobs.execution_spans '
			  . "WHERE span_id = (SELECT max(span_id) FROM aggjobs.execution_spans WHERE started_at = $at)",
			$hours[2]) ]);

for my $write (@writes)
{
	my ($what, $sql) = @$write;

	subtest "a $what" => sub {
		$node->safe_psql('postgres', 'TRUNCATE aggjobs.execution_spans');
		$node->safe_psql('postgres',
			join('; ', map { sprintf($insert, $_) } (@hours, @hours)));
		is(computed(), raw(), 'to begin with all is as it should be');
		my $before = raw();

		$node->safe_psql('postgres', "BEGIN; $sql; ROLLBACK");
		is(changes(), 0, 'rolled back, it marks nothing');

		$node->safe_psql('postgres', "BEGIN; $sql; PREPARE TRANSACTION 'w'");
		is(changes(), 0, 'prepared, it marks nothing that can be seen');
		is(computed(), $before, 'and does not count yet');
		$node->safe_psql('postgres', q{ROLLBACK PREPARED 'w'});
		is(changes(), 0, 'nor after that is rolled back');

		$node->safe_psql('postgres', "BEGIN; $sql; PREPARE TRANSACTION 'w'");
		is(computed(), $before, 'a refresh comes in between');
		$node->safe_psql('postgres', q{COMMIT PREPARED 'w'});
		cmp_ok(changes(), '>', 0, 'committed, it has marked its hours');
		isnt(raw(), $before, 'it made a difference');
		is(computed(), raw(), 'which is computed then');

		$node->safe_psql('postgres', "BEGIN; SAVEPOINT s; $sql; ROLLBACK TO s; COMMIT");
		is(computed(), raw(), 'rolled back to a savepoint it changes nothing');
		$node->safe_psql('postgres', "BEGIN; SAVEPOINT s; $sql; RELEASE s; COMMIT");
		is(computed(), raw(), 'in a savepoint that is released it counts');
	};
}

$node->stop;
done_testing();
