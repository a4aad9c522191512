# aggjobs.health: what each check finds amiss, from when on, and that it is well
# again when that is over.  The view goes by the real time; the clock of the
# scheduler is set back, so that what it does is old.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $node = start_node('health');

install_testing($node, $db);

sub ask
{
	my ($sql, $database) = @_;

	return $node->safe_psql($database // $db, "SET client_min_messages = warning; $sql");
}

# "state: detail" of a check.
sub health
{
	my ($check, $database) = @_;

	return ask(qq{SELECT state || ': ' || detail FROM aggjobs.health WHERE check_name = '$check'}, $database);
}

# All checks that are not well.
sub amiss
{
	return ask(q{SELECT string_agg(check_name, ' ' ORDER BY check_name) FROM aggjobs.health WHERE state <> 'ok'});
}

# The scheduler's clock stands so long before the present.
sub ago
{
	my ($time) = @_;

	set_clock($node, $db, ask("SELECT clock_timestamp() - interval '$time'"));
	return;
}

sub drop_all
{
	ask('SELECT aggjobs_drop_job(job_name) FROM aggjobs.jobs');
	return;
}

is(amiss(), '', 'with nothing to do all is well');
is( ask(q{SELECT string_agg(check_name, ' ' ORDER BY check_name) FROM aggjobs.health}),
	'capture copied enabled failures freshness overdue owners retention scheduler unresponsive version waiting', 'these are the checks');

subtest 'overdue' => sub {
	my $stuck = 'scheduler before commit: record slots';

	for my $age (4, 8)
	{
		ago("$age minutes");
		add_job($node, $db, 'each minute', 'every 1 minute', 'SELECT 1');
		add_job($node, $db, 'paused', 'every 1 minute', 'SELECT 1');
		ask(q{SELECT aggjobs_pause('paused')});
		my $slot = ask(q{SELECT next_run_at FROM aggjobs.jobs WHERE job_name = 'each minute'});
		arm($node, $db, $stuck, 'wait', times => -1);
		set_clock($node, $db, undef);
		wait_for($node, $db, qq{SELECT testing.waiting('$stuck') = 1}, 'the scheduler is stuck');
		if ($age == 4)
		{
			is(health('overdue'), 'ok: no planned slot has been passed over', 'a slot that is some minutes late is not told');
		}
		else
		{
			is(health('overdue'), "failing: 1 jobs should have started, the first at $slot", 'one that is more than five is');
			is(amiss(), 'overdue', 'and nothing else is amiss');
		}
		release($node, $db, $stuck);
		wait_for($node, $db, q{SELECT last_status = 'succeeded' FROM aggjobs.jobs WHERE job_name = 'each minute'});
		is(health('overdue'), 'ok: no planned slot has been passed over', 'well when the scheduler goes on');
		drop_all();
	}

	ago('8 minutes');
	add_job($node, $db, 'each minute', 'every 1 minute', 'SELECT 1');
	set_enabled($node, 'off');
	set_clock($node, $db, undef);
	is(amiss(), 'enabled overdue', 'so with aggjobs.enabled off, which is told as well');
	set_enabled($node, 'on');
	wait_for($node, $db, q{SELECT last_status = 'succeeded' FROM aggjobs.jobs WHERE job_name = 'each minute'});
	is(amiss(), '', 'turned on, all is well');
	drop_all();
};

subtest 'waiting' => sub {
	my $gate = $node->background_psql($db);

	ask(q{SELECT aggjobs_set_queue('one', 1)});
	for my $age (4, 8)
	{
		$gate->query_safe('SELECT pg_advisory_lock(1)');
		ago("$age minutes");
		add_job($node, $db, 'holder', undef, 'SELECT pg_advisory_xact_lock_shared(1)', queue => q{'one'});
		add_job($node, $db, 'waiter', undef, 'SELECT 1', queue => q{'one'});
		wait_in_command($node, $db, trigger($node, $db, 'holder'));
		my $run = trigger($node, $db, 'waiter');
		my $since = run_field($node, $db, $run, 'queued_at');
		is( health('waiting'),
			$age == 4 ? 'ok: no run waits for a worker' : "degraded: 1 runs have waited for a worker since $since",
			"a run that has waited for $age minutes");
		$gate->query_safe('SELECT pg_advisory_unlock(1)');
		is(wait_for_end($node, $db, $run), 'succeeded', 'it has its turn');
		is(amiss(), '', 'and all is well');
		drop_all();
	}
	$gate->quit;

	# One that waits for its time does not wait for a worker.
	ago('8 minutes');
	add_job($node, $db, 'fails', undef, q{DO 'BEGIN RAISE EXCEPTION USING ERRCODE = ''40001''; END'},
		retry_delay => q{'1 hour'}, retry_delay_limit => q{'1 hour'});
	run_to_end($node, $db, 'fails');
	is(ask(q{SELECT attempt FROM aggjobs.runs WHERE status = 'queued'}), 2, 'another attempt is queued');
	is(health('waiting'), 'ok: no run waits for a worker', 'and is not told before it is ready');
	drop_all();
	ask(q{SELECT aggjobs_drop_queue('one')});
};

subtest 'freshness' => sub {
	ask(q{
		CREATE TABLE event (at timestamptz NOT NULL);
		INSERT INTO event SELECT clock_timestamp() - g * interval '1 hour' FROM generate_series(1, 100) AS g});
	for my $unit ('hour', 'day')
	{
		ask(qq{SELECT aggjobs_create_rollup('by_$unit', \$\$SELECT date_trunc('$unit', at, 'UTC') AS bucket, count(*) AS n FROM event GROUP BY 1\$\$, NULL);
			SELECT aggjobs_create_job('by_$unit', NULL, '[{"kind": "rollup", "rollup": "by_$unit"}]')});
	}
	is(health('freshness'), 'ok: all rollups that have been computed are up to date', 'one that was never computed is not told');

	# The bucket of the instant is open, so that what is computed ends before it.
	my $compute = sub {
		my ($age) = @_;

		ago($age);
		for my $unit ('hour', 'day')
		{
			is((run_to_end($node, $db, "by_$unit"))[1], 'succeeded', "by_$unit is computed $age ago");
		}
	};

	$compute->('5 days');
	is(health('freshness'), 'degraded: not computed for two buckets: by_day, by_hour', 'both lag');
	$compute->('7 hours');
	is(health('freshness'), 'degraded: not computed for two buckets: by_hour', 'two buckets and three hours are allowed');
	$compute->('3 hours');
	is(health('freshness'), 'ok: all rollups that have been computed are up to date', 'and so is less');
	set_clock($node, $db, undef);
	is(amiss(), '', 'all is well');
	drop_all();
	ask(q{SELECT aggjobs_drop_rollup('by_hour'), aggjobs_drop_rollup('by_day')});
};

subtest 'failures' => sub {
	add_job($node, $db, 'fails', undef, 'SELECT 1 / 0');
	run_to_end($node, $db, 'fails') for 1, 2;
	is(health('failures'), 'ok: no job has failed three times in a row', 'twice is not told');
	run_to_end($node, $db, 'fails');
	is(health('failures'), 'failing: 1 jobs failed three times or more in a row: fails', 'three times is, with its name');
	ask(q{SELECT aggjobs_pause('fails')});
	is(amiss(), '', 'not of a job that is paused');
	ask(q{SELECT aggjobs_resume('fails'), aggjobs_alter_job('fails', command => 'SELECT 1')});
	is((run_to_end($node, $db, 'fails'))[1], 'succeeded', 'put right');
	is(amiss(), '', 'all is well');
};

subtest 'copied' => sub {
	ask('CREATE DATABASE copy TEMPLATE postgres', 'template1');
	wait_for_scheduler($node, 'copy');
	is(health('copied', 'copy'), 'degraded: 1 jobs were copied from another database and wait for SELECT aggjobs_resume(NULL)', 'jobs of a copy wait');
	ask('SELECT aggjobs_resume(NULL)', 'copy');
	is(health('copied', 'copy'), 'ok: all jobs belong to this database', 'until they are told to go on');
	is(amiss(), '', 'nothing of it is seen where they came from');
};

$node->stop;
done_testing();
