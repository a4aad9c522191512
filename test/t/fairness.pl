# What one user does, by intent or by accident, holds up nobody else; many runs
# are all run; and no run is a way around rights or limits.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('fairness');

# What has to go on at once does so well within this time, in seconds.
my $PROMPT = 5;

my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
$node->safe_psql('postgres', q{
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;
	SELECT aggjobs_grant('alice'), aggjobs_grant('bob');
	CREATE TABLE ran (who text, pid int DEFAULT pg_backend_pid());
	GRANT ALL ON ran TO alice, bob});

sub as_role
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres',
		"SET statement_timeout = '${PROMPT}s'; $sql",
		extra_params => [ '-U', $role ]);
}

sub add_job_of
{
	my ($role, $name, $schedule, $command, %args) = @_;
	return add_job($node, 'postgres', $name, $schedule, $command,
		owner => "'$role'", %args);
}

sub session_of
{
	my ($role) = @_;
	return $node->background_psql('postgres',
		on_error_stop => 0, extra_params => [ '-U', $role ]);
}

sub now
{
	return $node->safe_psql('postgres', 'SELECT clock_timestamp()');
}

# Wait until so many slots of a job after an instant have succeeded.
sub wait_for_slots
{
	my ($job, $since, $n) = @_;
	wait_for($node, 'postgres', qq{
		SELECT count(*) >= $n FROM aggjobs.runs
		WHERE job_name = '$job' AND status = 'succeeded' AND slot > '$since'});
	return;
}

sub wait_until_all_ended
{
	wait_for($node, 'postgres', q{
		SELECT NOT EXISTS (SELECT FROM aggjobs.runs
			WHERE status IN ('queued', 'running'))});
	return;
}

# How the runs of the jobs of this name ended: "succeeded 300".
sub outcomes
{
	my ($names) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (
			SELECT status, count(*) AS n FROM aggjobs.runs
			WHERE job_name LIKE '$names' GROUP BY 1) AS s});
}

sub set_and_reload
{
	my ($setting, $value) = @_;
	$node->safe_psql('postgres',
		"ALTER SYSTEM SET $setting = $value;\nSELECT pg_reload_conf()");
	wait_for($node, 'postgres',
		"SELECT current_setting('$setting') = '$value'");
	return;
}

subtest 'an open transaction that changes a job' => sub {
	add_job_of('alice', 'mine', 'every 1 second', 'SELECT 1');
	add_job_of('bob', 'his', 'every 1 second', 'SELECT 1');
	add_job_of('bob', 'other', 'every 1 hour', 'SELECT 1');
	wait_for_slots('mine', '-infinity', 1);
	wait_for_slots('his', '-infinity', 1);

	my $session = session_of('alice');
	$session->query_safe(q{BEGIN; SELECT aggjobs_pause('mine')});
	my $since = now();
	as_role('bob', q{SELECT aggjobs_alter_job('other', description => 'new')});
	pass('does not hold up alter_job');
	as_role('bob', q{SELECT aggjobs_drop_job('other')});
	pass('nor drop_job');
	wait_for_slots('his', $since, 2);
	is( $node->safe_psql('postgres', qq{
			SELECT bool_and(started_at < slot + interval '$PROMPT seconds')
			FROM aggjobs.runs
			WHERE job_name = 'his' AND slot > '$since' AND status = 'succeeded'}),
		't', 'the jobs of others run in time');
	$session->query_safe('ROLLBACK');
	wait_for_slots('mine', now(), 1);
	pass('rolled back, the job goes on');

	$session->query_safe(q{BEGIN; SELECT aggjobs_pause('mine'); COMMIT});
	$session->quit;
	$since = now();
	# Both would have run in the same second.
	wait_for_slots('his', $since, 1);
	is( $node->safe_psql('postgres', qq{
			SELECT count(*) FROM aggjobs.runs
			WHERE job_name = 'mine' AND slot > '$since'}),
		0, 'committed, it stays paused');
	is($node->safe_psql('postgres',
			q{SELECT state FROM aggjobs.jobs WHERE job_name = 'mine'}),
		'paused', 'and says so');
	is( $node->safe_psql('postgres', q{
			SELECT count(*) = extract(epoch FROM max(slot) - min(slot)) + 1
				AND bool_and(status IN ('succeeded', 'running', 'queued'))
			FROM aggjobs.runs WHERE job_name = 'his'}),
		't', 'no slot of the others was missed');
	as_role('bob', q{SELECT aggjobs_drop_job('his')});
	wait_until_all_ended();
};

subtest 'many runs of one slow job' => sub {
	add_job_of('alice', 'slow', undef, $FOREVER);
	add_job_of('bob', 'quick', undef, 'SELECT 1');
	as_role('alice',
		q{SELECT count(aggjobs_trigger('slow')) FROM generate_series(1, 1500)});
	wait_for($node, 'postgres', q{
		SELECT EXISTS (SELECT FROM aggjobs.runs
			WHERE job_name = 'slow' AND status = 'running')});

	my ($run, $status);
	cmp_ok(
		seconds_for(
			sub { ($run, $status) = run_to_end($node, 'postgres', 'quick') }),
		'<', $PROMPT, 'do not hold up the run of somebody else');
	is($status, 'succeeded', 'which succeeds');
	is(outcomes('slow'), 'queued 1499, running 1',
		'while they wait for one another');

	as_role('alice', q{SELECT aggjobs_drop_job('slow')});
	$node->safe_psql('postgres', q{
		SELECT aggjobs_cancel(run_id) FROM aggjobs.runs
		WHERE status IN ('queued', 'running')});
	wait_until_all_ended();
};

subtest 'many runs of one job' => sub {
	add_job_of('alice', 'often', undef, q{INSERT INTO ran VALUES ('often')},
		keep_successes => 1000);
	as_role('alice',
		q{SELECT count(aggjobs_trigger('often')) FROM generate_series(1, 300)});
	wait_until_all_ended();
	is(outcomes('often'), 'succeeded 300', 'all succeed');
	is( $node->safe_psql('postgres',
			q{SELECT count(*) FROM ran WHERE who = 'often'}),
		300, 'each of them has run once');
	is( $node->safe_psql('postgres', q{
			SELECT bool_and(started_at >= before) FROM (
				SELECT started_at, lag(ended_at) OVER (ORDER BY run_id) AS before
				FROM aggjobs.runs WHERE job_name = 'often') AS r
			WHERE before IS NOT NULL}),
		't', 'one after the other, in order');
};

# Twenty jobs of two owners, 15 runs of each.
sub run_many
{
	my ($prefix) = @_;

	$node->safe_psql('postgres', qq{
		SELECT count(aggjobs_create_job('$prefix ' || i, NULL,
			jsonb_build_array(jsonb_build_object('kind', 'command', 'command',
				format('INSERT INTO public.ran VALUES (%L)', '$prefix'))),
			owner => CASE WHEN i % 2 = 0 THEN 'alice' ELSE 'bob' END))
		FROM generate_series(1, 20) AS i;
		SELECT count(aggjobs_trigger('$prefix ' || i))
		FROM generate_series(1, 15), generate_series(1, 20) AS i});
	wait_until_all_ended();
	is(outcomes("$prefix %"), 'succeeded 300', 'all runs succeed');
	return $node->safe_psql('postgres', qq{
		SELECT count(*) || ' by ' || count(DISTINCT pid) FROM ran
		WHERE who = '$prefix'});
}

subtest 'workers that end after two runs' => sub {
	set_and_reload('aggjobs.worker_max_runs', 2);
	# A worker that waits for work may not have heard of it yet.
	$node->safe_psql('postgres',
		'SELECT pg_terminate_backend(pid, 10000) FROM aggjobs.workers');
	my ($n, $workers) = split / by /, run_many('two runs');
	is($n, 300, 'each has run once');
	cmp_ok($workers, '>=', 150, 'by as many workers as it takes');
	set_and_reload('aggjobs.worker_max_runs', 1000);
};

subtest 'workers that do not wait for work' => sub {
	set_and_reload('aggjobs.worker_idle', 0);
	my ($n) = split / by /, run_many('no idling');
	is($n, 300, 'each has run once');
	wait_for($node, 'postgres', 'SELECT count(*) = 0 FROM aggjobs.workers');
	pass('no worker stays');
	$node->safe_psql('postgres',
		"ALTER SYSTEM RESET aggjobs.worker_idle;\nSELECT pg_reload_conf()");
};

subtest 'a run whose job got another owner' => sub {
	add_job_of('alice', 'given', undef, 'SELECT 1');
	my ($run) = run_to_end($node, 'postgres', 'given');
	my $again = as_role('alice', "SELECT aggjobs_retry($run)");
	is(wait_for_end($node, 'postgres', $again =~ s/.*\n//r),
		'succeeded', 'can be retried by its owner before');

	$node->safe_psql('postgres',
		q{SELECT aggjobs_alter_job('given', owner => 'bob')});
	my $before = outcomes('given');
	is( (sqlstate_of($node, 'postgres',
			"SET SESSION AUTHORIZATION alice;\nSELECT aggjobs_retry($run)"))[0],
		'42501', 'can not be retried by the one before');
	is(outcomes('given'), $before, 'nothing was queued');
};

subtest 'a run inside a run' => sub {
	plan skip_all => no_memory_to_measure() if no_memory_to_measure();

	my $big = q{PERFORM length(a::text) FROM
		(SELECT array_agg(repeat(md5(i::text), 1000)) AS a
		 FROM generate_series(1, 3000) AS i) AS x;};
	my $nested = q{CALL aggjobs_run('inner');};
	my $caught = qq{BEGIN $nested
		EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; END;};
	my $run;

	add_job_of('alice', 'inner', undef, 'SELECT 1', memory_limit => q{'1GB'});
	add_job_of('alice', 'outer', undef, $nested);
	add_job_of('alice', 'big', undef, "DO \$do\$ BEGIN $big END \$do\$");
	add_job_of('alice', 'limited', undef,
		"DO \$do\$ BEGIN $caught $big END \$do\$", memory_limit => q{'64MB'}, retries => 0);

	($run) = run_to_end($node, 'postgres', 'outer');
	is(run_field($node, 'postgres', $run, q{status || ' ' || sqlstate}),
		'failed 55000', 'is refused in a worker');
	($run) = run_to_end($node, 'postgres', 'limited');
	is(run_field($node, 'postgres', $run, q{status || ' ' || sqlstate}),
		'failed 53200', 'and leaves the memory limit in force');
	is((run_to_end($node, 'postgres', 'big'))[1],
		'succeeded', 'which is gone in the next run');

	# The same in one session, which goes on after each error.
	my (undef, undef, $err) = $node->psql('postgres', qq{
		\\set VERBOSITY verbose
		CALL aggjobs_run('outer');
		CALL aggjobs_run('limited');
		DO \$do\$ BEGIN $big END \$do\$;},
		on_error_stop => 0, extra_params => [ '-U', 'alice' ]);
	is(join(' ', $err =~ /ERROR:  ([0-9A-Z]{5}):/g),
		'55000 53200', 'the same in a session');
	is(outcomes('inner'), '', 'the inner job has never run');
};

subtest 'a run in a session' => sub {
	add_job_of('alice', 'forever', undef, $FOREVER);
	my $session = session_of('alice');
	$session->query_until(qr/started/, qq{
		\\echo started
		CALL aggjobs_run('forever');
	});
	my $find = q{FROM aggjobs.runs WHERE job_name = 'forever' AND status = 'running'};
	wait_for($node, 'postgres', "SELECT EXISTS (SELECT $find)");
	my $run = $node->safe_psql('postgres', "SELECT run_id $find");
	wait_in_command($node, 'postgres', $run);

	is( (sqlstate_of($node, 'postgres',
			"SET SESSION AUTHORIZATION bob;\nSELECT aggjobs_cancel($run)"))[0],
		'42501', 'is not for others to cancel');
	is(as_role('alice', "SELECT aggjobs_cancel($run)"),
		't', 'can be cancelled by its owner');
	is(wait_for_end($node, 'postgres', $run), 'cancelled', 'and is then');
	is(scalar $session->query('SELECT 1'), '1', 'the session goes on');
	$session->quit;
};

unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/,
	'no process was killed');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'),
	$started, 'the server was not restarted');

$node->stop;
done_testing();
