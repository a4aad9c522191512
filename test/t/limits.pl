# What a run may use (time, memory, settings), that it can't get around it, and
# that nothing of it is left for the next run of the same worker.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('limits', conf => "aggjobs.cancel_grace = '500ms'\n");

# Limit and grace are far shorter; without them the runs here would not end.
my $IN_TIME = 10;

my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
$node->safe_psql('postgres', q{
	CREATE TABLE seen (what text, pid int DEFAULT pg_backend_pid(), value text);
	CREATE ROLE other;
	GRANT ALL ON seen TO other});

sub seen
{
	my ($what, $column) = @_;
	return $node->safe_psql('postgres',
		"SELECT coalesce(@{[ $column // 'value' ]}::text, 'NULL') FROM seen WHERE what = '$what'"
	);
}

# Make a job of this command, run it, and return (run, status).
my $jobs = 0;

sub run_sql
{
	my ($command, %args) = @_;
	my $job = 'job ' . ++$jobs;

	add_job($node, 'postgres', $job, undef, $command, %args);
	return run_to_end($node, 'postgres', $job);
}

sub times_out
{
	my ($command, $note, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($run, $status);
	my $seconds = seconds_for(
		sub {
			($run, $status) =
			  run_sql($command, timeout => q{interval '300 milliseconds'});
		});

	is($status, 'timed_out', $what);
	like(run_field($node, 'postgres', $run, 'note'), $note, 'the run says so');
	cmp_ok($seconds, '<', $IN_TIME, 'in time');
	return $run;
}

subtest 'time limit' => sub {
	$node->safe_psql('postgres', "CREATE TABLE half (i int)");
	times_out("INSERT INTO half VALUES (1); $FOREVER",
		qr/over the time limit/, 'ends a run');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM half'),
		0, 'its work is rolled back');
	times_out(
		"SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
		  . $FOREVER,
		qr/over the time limit/,
		'is not reached by settings that the run changes');
	is( (sqlstate_of($node, 'postgres', 'SET aggjobs.default_timeout = 0'))[0],
		'55P02', 'nobody can SET a setting of ours in a session');
	times_out(
		'DO $do$ BEGIN LOOP END LOOP; END $do$',
		qr/over the time limit/, 'ends a busy loop');
	times_out(
		qq{DO \$do\$ BEGIN LOOP BEGIN PERFORM ($FOREVER);
		   EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END \$do\$},
		qr/worker had to be ended/,
		'ends a run that catches each cancel');
	is((run_sql('SELECT 1'))[1], 'succeeded', 'the next run works');
};

subtest 'aggjobs.default_timeout' => sub {
	$node->safe_psql('postgres', q{
		ALTER SYSTEM SET aggjobs.default_timeout = '200ms';
		SELECT pg_reload_conf()});
	wait_for($node, 'postgres',
		q{SELECT current_setting('aggjobs.default_timeout') = '200ms'});
	# A worker that waits for work may not have heard of it yet; a new one has.
	$node->safe_psql('postgres',
		'SELECT pg_terminate_backend(pid, 10000) FROM aggjobs.workers');
	is((run_sql($FOREVER))[1], 'timed_out', 'limits jobs without their own');
	$node->safe_psql('postgres', q{
		ALTER SYSTEM RESET aggjobs.default_timeout;
		SELECT pg_reload_conf()});
	wait_for($node, 'postgres',
		q{SELECT current_setting('aggjobs.default_timeout') = '0'});
};

subtest 'memory limit' => sub {
	plan skip_all => no_memory_to_measure() if no_memory_to_measure();

	# 200 MB in many pieces; and the same without limit, to see that it is the
	# limit that refuses it.
	my $big = 'INSERT INTO seen (what, value) SELECT %s, length(a::text) FROM '
	  . '(SELECT array_agg(repeat(md5(i::text), 1000)) AS a FROM generate_series(1, 6000) AS i) AS x';
	my ($run, $status) = run_sql(sprintf($big, "'limited'"),
		memory_limit => q{'64MB'}, retries => 0);

	is( $status . ' ' . run_field($node, 'postgres', $run, 'sqlstate'),
		'failed 53200', 'a run that builds a huge value is out of memory');
	is(seen('limited'), '', 'its work is rolled back');
	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'),
		$started, 'the server lives');

	($run, $status) = run_sql(sprintf($big, "'unlimited'"));
	is($status, 'succeeded', 'the next run has the usual limit again');
	cmp_ok(seen('unlimited'), '>', 100e6, 'and builds the same value');
};

# Runs of one worker: the second must have the first one's pid, or it would
# prove nothing.
sub same_worker
{
	my ($first, $second) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(seen($second, 'pid'), seen($first, 'pid'), 'in the same worker');
	return;
}

sub look
{
	my ($what, $expression) = @_;
	return "INSERT INTO seen (what, value) SELECT '$what', $expression";
}

subtest 'settings of a job' => sub {
	my $setting = q{current_setting('work_mem')};
	my $usual = $node->safe_psql('postgres', "SELECT $setting");

	run_sql(look('with', $setting),
		settings => q{'{"work_mem": "7MB", "my.word": "one"}'});
	run_sql(look('without',
			"$setting || coalesce(current_setting('my.word', true), '')"));
	is(seen('with'), '7MB', 'hold in its run');
	is(seen('without'), $usual, 'and not in the next one');
	same_worker('with', 'without');
};

subtest 'the session of a worker is reset between runs' => sub {
	my @left = (
		[ 'temporary table', 'CREATE TEMP TABLE mine (i int)',
			q{to_regclass('pg_temp.mine')::text}, 'NULL' ],
		[ 'prepared statement', 'PREPARE mine AS SELECT 1',
			'(SELECT count(*) FROM pg_prepared_statements)', '0' ],
		[ 'cursor', 'DECLARE mine CURSOR WITH HOLD FOR SELECT 1',
			'(SELECT count(*) FROM pg_cursors WHERE is_holdable)', '0' ],
		[ 'advisory lock', 'SELECT pg_advisory_lock(42)',
			q{(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')}, '0' ],
		[ 'custom setting', q{SET my.thing = 'set'},
			q{nullif(current_setting('my.thing', true), '')}, 'NULL' ],
		[ 'sequence cache', q{SELECT nextval('counted')}, 'last_number()', 'NULL' ],
		[ 'search path', q{SET search_path = 'pg_catalog'},
			q{current_setting('search_path')}, '"$user", public' ],
		[ 'role', 'SET ROLE other', 'current_user',
			$node->safe_psql('postgres', 'SELECT current_user') ],
		[ 'session authorization', 'SET SESSION AUTHORIZATION other',
			'session_user',
			$node->safe_psql('postgres', 'SELECT session_user') ]);

	$node->safe_psql('postgres', q{
		CREATE SEQUENCE counted CACHE 10;
		CREATE FUNCTION last_number() RETURNS text LANGUAGE plpgsql AS
			'BEGIN RETURN lastval(); EXCEPTION WHEN object_not_in_prerequisite_state THEN RETURN NULL; END'});
	for my $thing (@left)
	{
		my ($what, $leave, $probe, $clean) = @$thing;
		is( (run_sql(look("$what before", q{''}) . "; $leave"))[1],
			'succeeded', "a run leaves a $what");
		is((run_sql(look("$what after", $probe)))[1],
			'succeeded', 'the next run works');
		is(seen("$what after"), $clean, "and finds no $what");
		same_worker("$what before", "$what after");
	}
};

subtest 'LISTEN' => sub {
	# Refused to background processes, for nobody would read what comes.
	my ($run, $status) = run_sql('LISTEN channel');
	is( $status . ' ' . run_field($node, 'postgres', $run, 'sqlstate'),
		'failed 0A000', 'is refused in a job');
};

my $log = slurp_file($node->logfile);
unlike($log, qr/was terminated by signal/, 'no process was killed');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'),
	$started, 'the server was not restarted');

$node->stop;
done_testing();
