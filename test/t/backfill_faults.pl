# What happens to a hierarchy while it is backfilled: a standby takes over, its
# source is altered, truncated and rewritten, the server comes back with fewer
# workers, the scheduler dies, a rollup is dropped, VACUUM has to get on.
# Whatever it is, what is done is not done again, and all is what other SQL says
# about the raw rows.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $primary = start_node('faults_primary', streaming => 1, conf => "aggjobs.max_backfill_workers = 3\nrestart_after_crash = on\n");
my $node = $primary;

sub sql { return $node->safe_psql($db, 'SET client_min_messages = warning;' . join(';', @_)); }

# The same in two ways: as rollups over each other, and from the raw rows alone.
my @rollups = (
	[ hours => q{SELECT date_trunc('hour', at, 'UTC') AS bucket, k, count(*) AS n, sum(v) AS v FROM raw GROUP BY 1, 2} ],
	[ days => q{SELECT date_trunc('day', bucket, 'UTC') AS bucket, k, sum(n) AS n, sum(v) AS v FROM hours GROUP BY 1, 2},
		q{SELECT date_trunc('day', at, 'UTC'), k, count(*)::numeric, sum(v)::numeric FROM raw GROUP BY 1, 2} ],
	[ months => q{SELECT date_trunc('month', bucket, 'UTC') AS bucket, sum(n) AS n, sum(v) AS v FROM days GROUP BY 1},
		q{SELECT date_trunc('month', at, 'UTC'), count(*)::numeric, sum(v)::numeric FROM raw GROUP BY 1} ]);

sub differences
{
	my ($name, $query) = @_;
	return "SELECT '$name' AS what, count(*) FROM ((($query) EXCEPT ALL TABLE $name) UNION ALL (TABLE $name EXCEPT ALL ($query))) x HAVING count(*) > 0";
}

# Ten days of raw rows, one each four minutes.
my $FILL = q{INSERT INTO raw SELECT '2026-01-01 UTC'::timestamptz + g * interval '4 minutes', g % 5, g % 100 + 1 FROM generate_series(0, 3599) AS g};

# Chunks of hours and days can be stopped in the middle, their rows computed and
# being written: where a row of a day is written that has its gate closed.  Gates
# of days have 100 added.
sql(q{
	CREATE TABLE raw (at timestamptz NOT NULL, k integer, v integer NOT NULL) PARTITION BY RANGE (at);
	CREATE TABLE early PARTITION OF raw FOR VALUES FROM ('2026-01-01 UTC') TO ('2026-01-06 UTC');
	CREATE TABLE late PARTITION OF raw FOR VALUES FROM ('2026-01-06 UTC') TO ('2026-02-01 UTC');
	CREATE INDEX ON raw (at)},
	$FILL,
	(map { "SELECT aggjobs_create_rollup('$_->[0]', \$q\$$_->[1]\$q\$, schedule => NULL)" } @rollups),
	'CREATE VIEW wrong AS ' . join(' UNION ALL ', map { my $raw = $_->[2] // $_->[1]; (differences($_->[0], $raw), differences("$_->[0]_live", $raw)) } @rollups),
	q{CREATE FUNCTION at_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		PERFORM pg_advisory_xact_lock_shared(coalesce(tg_argv[0]::integer, 0) + extract(day FROM coalesce(new.bucket, old.bucket) AT TIME ZONE 'UTC')::integer);
		RETURN coalesce(new, old);
	END $$},
	'CREATE TRIGGER gate BEFORE INSERT OR UPDATE OR DELETE ON hours FOR EACH ROW EXECUTE FUNCTION at_gate()',
	'CREATE TRIGGER gate BEFORE INSERT OR UPDATE OR DELETE ON days FOR EACH ROW EXECUTE FUNCTION at_gate(100)');

sub new_session
{
	my $session = $node->background_psql($db, on_error_stop => 0);
	$session->set_query_timer_restart;
	$session->query_safe('SET client_min_messages = error');
	return $session;
}

# It keeps gates closed, and has neither a transaction nor a snapshot.
my $keeper = new_session();
sub close_gates { $keeper->query_safe("SELECT pg_advisory_lock($_)") for @_; return; }
sub open_gates { $keeper->query_safe("SELECT pg_advisory_unlock($_)") for @_; return; }

sub wait_at_gate
{
	my ($day) = @_;
	wait_for($node, $db, "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = $day AND NOT granted", "a chunk is at the gate of day $day");
	return;
}

# So that each chunk has something to write.
sub change_all { sql('UPDATE raw SET v = v % 100 + 1'); return; }

sub wrong { return sql('SELECT what, count FROM wrong'); }
sub wrong_live { return sql(q{SELECT what, count FROM wrong WHERE what LIKE '%live'}); }

sub backfill
{
	my ($name, @args) = @_;
	return sql('SELECT aggjobs_backfill(' . join(', ', "'$name'", q{chunk => '1 day'}, @args) . ')');
}

sub wait_backfill { return sql("SELECT aggjobs_wait_backfill($_[0], '1 minute')"); }

# All that can be seen of the chunks of a backfill that are done, each a line.
sub done_chunks
{
	my ($id) = @_;
	return sql("SELECT chunk_no, run_id, attempts, started_at, ended_at FROM aggjobs.chunks WHERE backfill_id = $id AND state = 'done' ORDER BY chunk_no");
}

# Those that were done then are as they were, and there are more of them now.
sub is_kept
{
	my ($id, $then) = @_;
	my %now = map { $_ => 1 } split /\n/, done_chunks($id);
	my @then = split /\n/, $then;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(join("\n", grep { !$now{$_} } @then), '', scalar(@then) . ' chunks that were done are not done again');
	return;
}

sub is_right
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(wrong(), '', "$what: all is what the raw rows say");
	is(check_invariants($node, $db), '', 'and the records are true');
	return;
}

# The same once changes that came meanwhile are computed.
sub is_right_refreshed
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(wrong_live(), '', "$what: live views are what the raw rows say");
	sql(q{CALL aggjobs_refresh('months')});
	is_right("$what, refreshed");
	return;
}

# Send a statement that has to wait for a chunk.
sub send_waiting
{
	my ($session, $statement) = @_;
	$session->query_until(qr/sent/, "\\echo sent\n$statement;\n");
	my $text = $statement =~ s/'/''/gr;
	wait_for($node, $db, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '$text%'", "$statement waits");
	return;
}

subtest 'a standby takes over' => sub {
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('faults_standby');
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;

	close_gates(5, 6);
	my $id = backfill('months', 'workers => 2');
	wait_at_gate($_) for 5, 6;
	my $done = done_chunks($id);
	$primary->wait_for_catchup($standby);
	$primary->stop('immediate');
	leave($keeper);
	$standby->promote;
	$node = $standby;
	isnt($done, '', 'some chunks were done');
	is(wait_backfill($id), 'succeeded', 'on the new primary the backfill goes on by itself');
	is_kept($id, $done);
	is_right('promoted');
	$keeper = new_session();
};

# Each of them comes while a chunk is at work, and, unless it needs no strong
# lock, waits for it and goes before the next.
subtest 'the source is altered in the middle' => sub {
	my $session = new_session();
	my @steps = (
		[ 9 => 'ALTER TABLE raw ADD note varchar' ],
		[ 8 => 'ALTER TABLE raw ALTER note TYPE integer USING length(note)' ],
		[ 7 => 'ALTER TABLE raw RENAME at TO seen' ],
		[ 6 => 'ALTER TABLE raw DETACH PARTITION early' ],
		[ 5 => 'ALTER TABLE raw DROP v' ],
		[ 4 => q{ALTER TABLE raw ATTACH PARTITION early FOR VALUES FROM ('2026-01-01 UTC') TO ('2026-01-06 UTC')} ],
		[ 3 => 'ALTER TABLE raw RENAME seen TO at' ]);

	change_all();
	close_gates(map { $_->[0] } @steps);
	my $id = backfill('months', 'workers => 1');
	for my $step (@steps)
	{
		my ($day, $statement) = @$step;

		wait_at_gate($day);
		if ($statement =~ / ATTACH/) { $session->query($statement); }
		else { send_waiting($session, $statement); }
		open_gates($day);
		$session->query('SELECT 1');
		my $said = $session->{stderr};
		$session->{stderr} = '';
		if ($statement =~ /DROP/) { like($said, qr/trigger aggjobs_capture_update on table raw depends on column v of table raw/, "refused: $statement"); }
		else { is($said, '', $statement); }
		is(wrong_live(), '', 'live views are right');
	}
	is(wait_backfill($id), 'succeeded', 'the backfill succeeds');
	is(sql(qq{SELECT sum(rows_deleted) FROM aggjobs.chunks WHERE backfill_id = $id AND rollup_name = 'hours' AND "from" >= '2026-01-06 UTC'}),
		0, 'a chunk that waits for a table to be written anew does not find it empty');
	is_right_refreshed('altered');
	$session->quit;
};

# The days may read raw rows, through the live view of the hours, and so have to
# wait for the table as the hours do.
subtest 'the source is written anew while the days are computed' => sub {
	my $session = new_session();

	change_all();
	close_gates(109);
	my $id = backfill('months', 'workers => 1');
	wait_at_gate(109);
	send_waiting($session, 'ALTER TABLE raw ALTER note TYPE bigint');
	open_gates(109);
	is(wait_backfill($id), 'succeeded', 'the backfill succeeds');
	$session->query('SELECT 1');
	is(sql(qq{SELECT sum(rows_deleted) FROM aggjobs.chunks WHERE backfill_id = $id}), 0, 'no chunk finds its source empty');
	is_right('written anew');
	$session->quit;
};

# The chunk waits for the lock of its rollup; with all its locks it would be in
# the way of the DDL, and with those of the DDL in its own.
subtest 'a column that the query needs goes in the middle' => sub {
	sql(q{
		CREATE TABLE other (at timestamptz NOT NULL, v integer);
		INSERT INTO other SELECT '2026-01-01 UTC'::timestamptz + g * interval '1 hour', g FROM generate_series(0, 99) AS g;
		SELECT aggjobs_create_rollup('others', $q$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(v) AS v FROM other GROUP BY 1$q$, schedule => NULL)});
	my $session = new_session();
	$session->query_safe(q{BEGIN; SELECT FROM aggjobs.rollup WHERE rollup_name = 'others' FOR UPDATE});
	my $id = backfill('others', 'workers => 1');
	wait_for($node, $db, qq{SELECT count(*) > 0 FROM aggjobs.backfill_workers b JOIN pg_stat_activity a USING (pid)
		WHERE b.backfill_id = $id AND b.state = 'at work' AND a.wait_event_type = 'Lock'}, 'a chunk is at work');
	$session->query_safe('ALTER TABLE other DROP v CASCADE; COMMIT');
	$session->quit;
	is(wait_backfill($id), 'failed', 'the backfill has failed');
	is(sql("SELECT count(*) FROM aggjobs.chunks WHERE backfill_id = $id AND state <> 'failed'"), 0, 'and each of its chunks');
	is(sql(qq{SELECT error FROM aggjobs.chunks WHERE backfill_id = $id AND error !~ '^rollup "others" (does not exist|was dropped)'}), '', 'with the reason');
	is(check_invariants($node, $db), '', 'the records are true');
};

subtest 'old rows change and go in the middle' => sub {
	my $session = new_session();
	change_all();
	close_gates(8, 4);
	my $id = backfill('months', 'workers => 2');
	wait_at_gate($_) for 8, 4;
	sql(q{UPDATE raw SET v = v + 1, at = at + interval '3 hours' WHERE at < '2026-01-09 UTC' AND k = 1},
		q{DELETE FROM raw WHERE k = 2 AND at >= '2026-01-02 UTC' AND at < '2026-01-09 UTC'},
		q{INSERT INTO raw VALUES ('2026-01-08 03:04 UTC', 9, 1), ('2026-01-04 03:04 UTC', 9, 2)});
	is(wrong_live(), '', 'live views are right after UPDATE, DELETE and INSERT');
	open_gates(4);
	wait_for($node, $db, "SELECT bool_and(state = 'done') FROM aggjobs.chunks WHERE backfill_id = $id AND rollup_name = 'hours' AND kind = 'range' AND \"to\" <= '2026-01-05 UTC'", 'what is before the other gate is done');
	send_waiting($session, 'TRUNCATE raw');
	open_gates(8);
	$session->query_safe(q{INSERT INTO raw VALUES ('2026-01-03 03:04 UTC', 1, 1), ('2026-01-08 03:04 UTC', 2, 2)});
	is(wrong_live(), '', 'and after TRUNCATE');
	is(wait_backfill($id), 'succeeded', 'the backfill succeeds');
	is_right_refreshed('truncated');
	$session->quit;
	sql('TRUNCATE raw', $FILL);
};

subtest 'fewer workers after a restart' => sub {
	close_gates(6, 5, 4);
	my $id = backfill('months', 'workers => 3');
	wait_at_gate($_) for 6, 5, 4;
	my $done = done_chunks($id);
	$node->stop;
	leave($keeper);
	$node->append_conf('postgresql.conf', 'aggjobs.max_backfill_workers = 1');
	$node->start;
	my $since = sql('SELECT pg_postmaster_start_time()');
	sql("SELECT aggjobs_alter_backfill($id, 1)");
	is(wait_backfill($id), 'succeeded', 'the backfill goes on');
	is_kept($id, $done);
	is(sql(qq{SELECT count(*) FROM aggjobs.chunks a JOIN aggjobs.chunks b USING (backfill_id)
		WHERE backfill_id = $id AND a.chunk_no <> b.chunk_no AND a.started_at > '$since' AND b.started_at > '$since'
		AND a.started_at BETWEEN b.started_at AND b.ended_at}), 0, 'with one worker at a time');
	is_right('restarted');
	$keeper = new_session();
	$node->append_conf('postgresql.conf', 'aggjobs.max_backfill_workers = 3');
	$node->reload;
};

# However a worker ends, another takes its place.
subtest 'workers are ended' => sub {
	my %ends = (
		'pg_terminate_backend' => 'pg_terminate_backend(pid)',
		'pg_cancel_backend' => 'pg_cancel_backend(pid)',
		'aggjobs_cancel' => 'aggjobs_cancel(run_id)');
	for my $how (sort keys %ends)
	{
		change_all();
		close_gates(5);
		my $id = backfill('months', 'workers => 1');
		wait_at_gate(5);
		sql("SELECT $ends{$how} FROM aggjobs.backfill_workers WHERE backfill_id = $id AND pid IS NOT NULL");
		wait_for($node, $db, "SELECT count(*) = 2 FROM aggjobs.runs WHERE job_name = 'backfill $id worker 1'", 'another comes');
		open_gates(5);
		is(wait_backfill($id), 'succeeded', $how);
	}
	change_all();
	close_gates(5);
	my $id = backfill('months', 'workers => 1');
	wait_at_gate(5);
	my $session = new_session();
	$session->query_safe("BEGIN; SELECT FROM aggjobs.backfill WHERE backfill_id = $id FOR UPDATE");
	$session->query_safe("SELECT aggjobs_pause_backfill($id); COMMIT; BEGIN; SELECT aggjobs_resume_backfill($id)");
	open_gates(5);
	$session->query_safe('COMMIT');
	is(wait_backfill($id), 'succeeded', 'paused and resumed in a moment');
	change_all();
	close_gates(5);
	$id = backfill('months', 'workers => 1');
	wait_at_gate(5);
	sql("SELECT aggjobs_pause_backfill($id)");
	$session->query_safe("BEGIN; SELECT FROM aggjobs.backfill WHERE backfill_id = $id FOR UPDATE");
	open_gates(5);
	wait_for($node, $db, "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'pg_aggjobs: backfill $id worker%' AND wait_event_type = 'Lock'", 'its worker is about to end');
	$session->query_safe("SELECT aggjobs_resume_backfill($id); COMMIT");
	is(wait_backfill($id), 'succeeded', 'resumed while its worker ends');
	$session->quit;
	is_right('its workers ended');
};

subtest 'the scheduler is ended' => sub {
	change_all();
	close_gates(8);
	my $id = backfill('months', 'workers => 2');
	wait_at_gate(8);
	my $pid = scheduler_pid($node, $db);
	sql("SELECT pg_terminate_backend($pid)");
	wait_for($node, $db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_aggjobs scheduler' AND pid <> $pid)", 'there is another');
	wait_for_scheduler($node, $db);
	open_gates(8);
	is(wait_backfill($id), 'succeeded', 'the backfill goes on');
	is(sql("SELECT max(attempts) FROM aggjobs.chunks WHERE backfill_id = $id"), 1, 'no chunk was begun again');
	is(sql("SELECT count(*) FROM aggjobs.runs WHERE job_name LIKE 'backfill $id %' AND status = 'crashed'"), 0, 'no worker was taken for dead');
	is_right('its scheduler ended');
};

subtest 'the scheduler is killed' => sub {
	change_all();
	close_gates(8, 5);
	my $id = backfill('months', 'workers => 2');
	wait_at_gate($_) for 8, 5;
	my $done = done_chunks($id);
	my $pid = scheduler_pid($node, $db);
	kill 'KILL', $pid;
	wait_for($node, $db, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)", 'the server has started anew');
	leave($keeper);
	is(wait_backfill($id), 'succeeded', 'the backfill goes on by itself');
	is_kept($id, $done);
	is_right('its scheduler killed');
	$keeper = new_session();
};

subtest 'a rollup is dropped while those below it are computed' => sub {
	sql(q{SELECT aggjobs_create_rollup('weeks', $q$SELECT date_trunc('week', bucket, 'UTC') AS bucket, sum(n) AS n FROM days GROUP BY 1$q$, schedule => NULL)});
	change_all();
	close_gates(5);
	my $id = backfill('weeks', 'workers => 2');
	wait_at_gate(5);
	sql(q{SELECT aggjobs_drop_rollup('weeks')});
	open_gates(5);
	is(wait_backfill($id), 'failed', 'the backfill has failed');
	is(sql("SELECT DISTINCT rollup_name, state FROM aggjobs.chunks WHERE backfill_id = $id AND kind = 'range' ORDER BY 1"), "days|done\nhours|done\nweeks|failed", 'for what was dropped, and for nothing else');
	is(sql(qq{SELECT error FROM aggjobs.chunks WHERE backfill_id = $id AND state = 'failed' AND error !~ '^rollup "weeks" (does not exist|was dropped)'}), '', 'with the reason');
	is_right_refreshed('a rollup dropped');
};

# VACUUM removes what no snapshot sees any more, so that a table all of whose
# rows were deleted has no pages left.
subtest 'vacuum keeps up' => sub {
	my $at_work = q{FROM pg_stat_activity a JOIN aggjobs.backfill_workers w USING (pid) WHERE w.backfill_id};
	sql('CREATE TABLE unrelated AS SELECT g FROM generate_series(1, 1000) AS g');
	change_all();
	close_gates(8, 5, 1);
	my $id = backfill('months', 'workers => 2');
	wait_at_gate($_) for 8, 5;
	my $limit = sql("SELECT a.backend_xmin $at_work = $id AND a.backend_xmin IS NOT NULL ORDER BY age(a.backend_xmin) LIMIT 1");
	isnt($limit, '', 'chunks at work have a snapshot');
	sql('DELETE FROM unrelated');
	sql('VACUUM unrelated');
	cmp_ok(sql(q{SELECT pg_relation_size('unrelated')}), '>', 0, 'what died since they began stays for them');
	open_gates(8, 5);
	wait_at_gate(1);
	wait_for($node, $db, "SELECT count(*) = 1 $at_work = $id AND w.state = 'waiting' AND a.wait_event_type = 'Extension'",
		'the other worker waits');
	is(sql("SELECT count(*), bool_and(coalesce(age(a.backend_xmin), 0) < age('$limit'::xid)) $at_work = $id"), '2|t', 'no worker has a snapshot from before');
	sql('VACUUM unrelated');
	is(sql(q{SELECT pg_relation_size('unrelated')}), 0, 'and what died while the backfill went on is removed');
	open_gates(1);
	is(wait_backfill($id), 'succeeded', 'the backfill succeeds');
	is_right('vacuumed');
};

unlike(slurp_file($_->logfile), qr/PANIC|TRAP/, 'no assertion failed') for $primary, $node;
$keeper->quit;
$node->stop;
done_testing();
