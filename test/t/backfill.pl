# Backfills: a hierarchy in chunks by several workers, paused, cancelled, failing,
# killed; what comes out is what other SQL says about the raw rows.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $node = start_node('backfill', conf => "aggjobs.max_backfill_workers = 3\nrestart_after_crash = on\n");

sub sql { return $node->safe_psql($db, 'SET client_min_messages = warning;' . join(';', @_)); }

# Ten days of raw rows, a row each minute.
sql(q{
	CREATE TABLE raw (at timestamptz NOT NULL, k integer, v integer NOT NULL);
	CREATE INDEX ON raw (at);
	INSERT INTO raw SELECT '2026-01-01 UTC'::timestamptz + g * interval '1 minute', g % 7, g % 100 + 1 FROM generate_series(0, 14399) AS g;
	SELECT aggjobs_create_rollup('hours', $q$SELECT date_trunc('hour', at, 'UTC') AS bucket, k, count(*) AS n, sum(v) AS v, sum(100 / v) AS r FROM raw GROUP BY 1, 2$q$, schedule => NULL);
	SELECT aggjobs_create_rollup('days', $q$SELECT date_trunc('day', bucket, 'UTC') AS bucket, k, sum(n) AS n, sum(v) AS v FROM hours GROUP BY 1, 2$q$, schedule => NULL);
	SELECT aggjobs_create_rollup('months', $q$SELECT date_trunc('month', bucket, 'UTC') AS bucket, sum(n) AS n, sum(v) AS v FROM days GROUP BY 1$q$, schedule => NULL);
	CREATE VIEW wrong AS
	WITH h AS (SELECT date_trunc('hour', at, 'UTC') AS bucket, k, count(*) AS n, sum(v) AS v, sum(100 / v) AS r FROM raw GROUP BY 1, 2),
		d AS (SELECT date_trunc('day', at, 'UTC') AS bucket, k, count(*)::numeric AS n, sum(v)::numeric AS v FROM raw GROUP BY 1, 2),
		m AS (SELECT date_trunc('month', at, 'UTC') AS bucket, count(*)::numeric AS n, sum(v)::numeric AS v FROM raw GROUP BY 1)
	SELECT 'hours' AS what, count(*) FROM ((TABLE h EXCEPT ALL TABLE hours) UNION ALL (TABLE hours EXCEPT ALL TABLE h)) x HAVING count(*) > 0
	UNION ALL SELECT 'days', count(*) FROM ((TABLE d EXCEPT ALL TABLE days) UNION ALL (TABLE days EXCEPT ALL TABLE d)) x HAVING count(*) > 0
	UNION ALL SELECT 'months', count(*) FROM ((TABLE m EXCEPT ALL TABLE months) UNION ALL (TABLE months EXCEPT ALL TABLE m)) x HAVING count(*) > 0
	UNION ALL SELECT 'hours_live', count(*) FROM ((TABLE h EXCEPT ALL TABLE hours_live) UNION ALL (TABLE hours_live EXCEPT ALL TABLE h)) x HAVING count(*) > 0
	UNION ALL SELECT 'days_live', count(*) FROM ((TABLE d EXCEPT ALL TABLE days_live) UNION ALL (TABLE days_live EXCEPT ALL TABLE d)) x HAVING count(*) > 0
	UNION ALL SELECT 'months_live', count(*) FROM ((TABLE m EXCEPT ALL TABLE months_live) UNION ALL (TABLE months_live EXCEPT ALL TABLE m)) x HAVING count(*) > 0});

sub wrong { return sql('SELECT what, count FROM wrong'); }

sub wrong_live { return sql(q{SELECT what, count FROM wrong WHERE what LIKE '%live'}); }

sub backfill
{
	my ($name, @args) = @_;
	return sql('SELECT aggjobs_backfill(' . join(', ', "'$name'", @args) . ')');
}

sub wait_backfill { return sql("SELECT aggjobs_wait_backfill($_[0], '1 minute')"); }

sub field
{
	my ($id, $what) = @_;
	return sql("SELECT $what FROM aggjobs.backfills WHERE backfill_id = $id");
}

sub reload
{
	my %settings = @_;

	sql("ALTER SYSTEM SET $_ = '$settings{$_}'") for keys %settings;
	$node->reload;
	wait_for($node, $db, "SELECT current_setting('$_') = '$settings{$_}'", "$_ is $settings{$_}") for keys %settings;
	return;
}

# Keep chunks of a rollup from being computed.
sub new_holder
{
	my $session = $node->background_psql($db);
	$session->query_safe('SET client_min_messages = error');
	return $session;
}
my $holder = new_holder();
sub hold { $holder->query_safe("BEGIN; SELECT FROM aggjobs.rollup WHERE rollup_name = '$_[0]' FOR UPDATE"); return; }
sub let_go { $holder->query_safe('COMMIT'); return; }

sub wait_at_work
{
	my ($id) = @_;
	wait_for($node, $db, qq{
		SELECT count(*) > 0 FROM aggjobs.backfill_workers b JOIN pg_stat_activity a USING (pid)
		WHERE b.backfill_id = $id AND b.state = 'at work' AND b.phase = 'starting' AND a.wait_event_type = 'Lock'},
		"a worker of backfill $id waits for the lock");
	return;
}

sub wait_idle
{
	my ($id) = @_;
	wait_for($node, $db, "SELECT bool_and(state = 'ended') FROM aggjobs.backfill_workers WHERE backfill_id = $id",
		"the workers of backfill $id end");
	return;
}

subtest 'the first fill of a hierarchy' => sub {
	my $id = backfill('months', 'workers => 3', q{chunk => '1 day'});
	is(wait_backfill($id), 'succeeded', 'it succeeds');
	is(wrong(), '', 'all tables are what the raw rows say');
	is(sql(q{SELECT count(*) FROM aggjobs.stale JOIN aggjobs.rollup USING (rollup_id)
		WHERE NOT builtin AND from_time < (SELECT min(horizon) FROM aggjobs.rollup_state WHERE rollup_name IN ('hours', 'days', 'months'))}),
		0, 'and clean');
	is(field($id, q{concat_ws(' ', percent, done = chunks, failed, running, workers)}), '100.0 t 0 0 3', 'its figures');
	is(sql(qq{SELECT count(*) FROM aggjobs.chunks WHERE backfill_id = $id AND attempts <> 1}), 0, 'each chunk was taken once');
	is(sql(qq{SELECT sum(rows_read) FROM aggjobs.chunks WHERE backfill_id = $id AND rollup_name = 'hours'}), 14400, 'each raw row was read once');
	is(sql(qq{SELECT count(*) FROM aggjobs.chunks d JOIN aggjobs.chunks h USING (backfill_id)
		WHERE backfill_id = $id AND d.rollup_name = 'days' AND d.kind = 'range' AND h.rollup_name = 'hours' AND h.kind = 'range'
		AND h."from" < d."to" AND h."to" > d."from" AND h.ended_at > d.started_at}), 0, 'no day was computed before its hours');
	sql(q{SELECT aggjobs_create_job('again', NULL, '[{"kind": "rollup", "rollup": "months"}]')});
	my ($run) = run_to_end($node, $db, 'again');
	is(run_field($node, $db, $run, q{steps -> 0 ->> 'ranges'}), 0, 'an ordinary run finds nothing left to do');
};

subtest 'a range that is not stale is computed all the same' => sub {
	sql(q{UPDATE hours SET v = v + 1 WHERE bucket < '2026-01-03 UTC' OR bucket >= '2026-01-04 UTC'});
	sql(q{CALL aggjobs_refresh('months')});
	isnt(wrong_live(), '', 'somebody has spoilt the hours');
	my $id = backfill('hours', q{"from" => '2026-01-01 UTC'}, q{"to" => '2026-01-03 UTC'}, 'parents => true');
	is(wait_backfill($id), 'succeeded', 'two days are computed');
	is(sql(q{SELECT count(*) FROM hours h JOIN (SELECT date_trunc('hour', at, 'UTC') AS bucket, k, sum(v) AS v FROM raw GROUP BY 1, 2) r USING (bucket, k)
		WHERE h.v <> r.v AND bucket < '2026-01-03 UTC'}), 0, 'and are right again');
	is(field($id, 'rows_written > 0'), 't', 'what was written is told');
	$id = backfill('hours', 'parents => true', q{"order" => 'oldest first'});
	is(wait_backfill($id), 'succeeded', 'so is all the rest');
	is(wrong(), '', 'all is right');
};

subtest 'repair' => sub {
	sql(q{UPDATE hours SET v = v + 1 WHERE bucket BETWEEN '2026-01-02 UTC' AND '2026-01-05 UTC' AND k = 3},
		q{DELETE FROM hours WHERE bucket = '2026-01-03 UTC'},
		q{INSERT INTO days SELECT bucket, 99, 1, 1 FROM days WHERE k = 1});
	isnt(wrong(), '', 'somebody has spoilt hours and days');
	my $id = sql(q{SELECT aggjobs_repair('days', '2026-01-01 UTC', '2026-01-09 UTC', workers => 2)});
	is(wait_backfill($id), 'succeeded', 'a range of days is repaired, with its hours');
	is(wrong(), "days|2\ndays_live|2\nmonths_live|2", 'and nothing else');
	is(wait_backfill(sql(q{SELECT aggjobs_repair('days')})), 'succeeded', 'so is all');
	is(wrong(), '', 'all is right');
};

subtest 'pause and resume' => sub {
	hold('hours');
	my $id = backfill('hours', 'workers => 1', q{chunk => '1 day'});
	wait_for($node, $db, "SELECT count(*) > 0 FROM aggjobs.backfill_workers WHERE backfill_id = $id AND state = 'at work'", 'it begins');
	sql("SELECT aggjobs_pause_backfill($id)");
	let_go();
	wait_idle($id);
	is(field($id, q{concat_ws(' ', state, done, running)}), 'paused 1 0', 'the chunk at work is ended, no other begun');
	like(($node->psql($db, "SELECT aggjobs_pause_backfill($id)"))[2], qr/is paused and can't be paused/, 'once is enough');
	sql("SELECT aggjobs_resume_backfill($id)");
	is(wait_backfill($id), 'succeeded', 'it goes on');
	is(sql(qq{SELECT count(*) FROM aggjobs.chunks WHERE backfill_id = $id AND attempts <> 1}), 0, 'and does nothing twice');
};

subtest 'cancel and retry' => sub {
	my $id = backfill('hours', 'workers => 2', q{chunk => '1 day'});
	wait_for($node, $db, "SELECT done > 2 FROM aggjobs.backfills WHERE backfill_id = $id", 'some chunks are done');
	hold('hours');
	wait_at_work($id) if field($id, q{state = 'running'}) eq 't';
	SKIP:
	{
		skip 'it was over too soon', 5 if field($id, q{state = 'running'}) eq 'f';
		my $since = sql('SELECT clock_timestamp()');
		sql("SELECT aggjobs_cancel_backfill($id)");
		wait_idle($id);
		is(sql(qq{SELECT max(ended_at) - '$since' < interval '1 s' FROM aggjobs.runs r
			WHERE r.job_name LIKE 'backfill $id worker %' AND r.status = 'cancelled'}), 't', 'its workers stop within a second');
		is(field($id, 'state'), 'cancelled', 'it is cancelled');
		my $done = field($id, 'done');
		let_go();
		is(wrong(), '', 'all is right in between');
		sql("SELECT aggjobs_retry_backfill($id)");
		is(wait_backfill($id), 'succeeded', 'taken up again it succeeds');
		is(sql(qq{SELECT count(*) >= $done FROM aggjobs.chunks WHERE backfill_id = $id AND attempts = 1}), 't', 'and what was done is not done again');
	}
	let_go();
};

subtest 'a row that can not be computed' => sub {
	sql(q{UPDATE raw SET v = 0 WHERE at = '2026-01-05 07:30 UTC'});
	my $id = backfill('hours', q{chunk => '2 days'}, 'parents => true');
	is(wait_backfill($id), 'failed', 'the backfill has failed');
	is(sql(qq{SELECT string_agg(concat_ws(' ', rollup_name, "from", "to", sqlstate, error), '; ') FROM aggjobs.chunks
		WHERE backfill_id = $id AND state = 'failed' AND rollup_name = 'hours'}),
		'hours 2026-01-05 07:00:00+00 2026-01-05 08:00:00+00 22012 division by zero', 'for one hour, with the reason');
	is(sql(qq{SELECT rows_skipped FROM aggjobs.chunks WHERE backfill_id = $id AND state = 'failed' AND rollup_name = 'hours'}), 60, 'how many rows are in it');
	is(sql(qq{SELECT count(*) FROM aggjobs.chunks, jsonb_to_recordset(sample) AS s (at timestamptz, k integer, v integer)
		WHERE backfill_id = $id AND state = 'failed' AND rollup_name = 'hours' AND date_trunc('hour', at, 'UTC') = "from"}), 3, 'and some of them');
	is(field($id, 'rows_skipped'), 60, 'and in all');
	is(sql(qq{SELECT count(*) FROM aggjobs.chunks WHERE backfill_id = $id AND state = 'done' AND rollup_name = 'hours' AND kind = 'range'
		AND "from" < '2026-01-05 07:00 UTC' OR backfill_id = $id AND rollup_name = 'hours' AND "from" >= '2026-01-05 08:00 UTC' AND state <> 'done'})
		> 0, 1, 'the rest was computed');
	sql(q{UPDATE raw SET v = 5 WHERE at = '2026-01-05 07:30 UTC'});
	sql("SELECT aggjobs_retry_backfill($id)");
	is(wait_backfill($id), 'succeeded', 'with the row put right it succeeds');
	is(wrong(), '', 'all is right');
};

subtest 'others are at work meanwhile' => sub {
	add_job($node, $db, 'clock', 'every 1 second', 'SELECT 1');
	hold('hours');
	my $id = backfill('hours', 'workers => 3', q{chunk => '1 day'});
	wait_at_work($id);
	my $seen = sql("SELECT max(seen_at) FROM aggjobs.backfill_workers WHERE backfill_id = $id");
	wait_for($node, $db, "SELECT max(seen_at) > '$seen' FROM aggjobs.backfill_workers WHERE backfill_id = $id", 'another sign of life');
	pass('signs of life come from inside a chunk');
	my $since = sql('SELECT clock_timestamp()');
	wait_for($node, $db, "SELECT count(*) > 1 FROM aggjobs.runs WHERE job_name = 'clock' AND status = 'succeeded' AND slot > '$since'", 'the clock goes on');
	sql(q{INSERT INTO raw VALUES ('2026-01-02 03:04:05 UTC', 1, 50), ('2026-01-09 03:04:05 UTC', 1, 60)});
	is(wrong_live(), '', 'live views are right with late rows');
	sql("SELECT aggjobs_alter_backfill($id, 1)");
	let_go();
	is(wait_backfill($id), 'succeeded', 'it ends with one worker');
	sql(q{CALL aggjobs_refresh('months')});
	is(wrong(), '', 'all is right');
	sql(q{SELECT aggjobs_drop_job('clock')});
};

subtest 'room on disk' => sub {
	my (undef, undef, $told) = $node->psql($db, q{SELECT aggjobs_backfill('hours', dry_run => true)});
	like($told, qr/about \d+ \w+ would be written in tablespace "pg_default", where \d+ \w+ are free/, 'a dry run tells what is needed');
	reload('aggjobs.disk_reserve' => '1000TB');
	my ($state, $error) = sqlstate_of($node, $db, q{SELECT aggjobs_backfill('hours')});
	is($state, '53100', 'what would leave less than the reserve is refused');
	like($error, qr/About \d+ \w+ are needed and \d+ \w+ are free, of which 1000 TB are kept back/, 'with the figures');
	reload('aggjobs.disk_reserve' => '0');
	is(wait_backfill(backfill('hours')), 'succeeded', 'without one nothing is');
};

subtest 'a copy of what was there' => sub {
	sql(q{UPDATE days SET v = v + 1 WHERE bucket = '2026-01-03 UTC'}, q{DELETE FROM days WHERE bucket = '2026-01-05 UTC'},
		q{CALL aggjobs_refresh('months')}, 'CREATE TABLE days_then AS TABLE days', 'CREATE TABLE hours_then AS TABLE hours');
	my $id = backfill('days', q{"from" => '2026-01-02 UTC'}, 'workers => 2', 'snapshot => true', 'parents => true');
	is(wait_backfill($id), 'succeeded', 'with snapshot');
	is(sql('SELECT count(*) FROM (TABLE days EXCEPT ALL TABLE days_then) x') > 0, 1, 'something was put right');
	is(wrong(), '', 'all is right');
	is(field($id, 'copies'), "{days_before_$id,hours_before_$id,months_before_$id}", 'there are copies');
	is(sql("SELECT aggjobs_undo_backfill($id) > 0"), 't', 'the one call back');
	is(sql('SELECT count(*) FROM ((TABLE days EXCEPT ALL TABLE days_then) UNION ALL (TABLE days_then EXCEPT ALL TABLE days)) x'), 0, 'has the tables as they were');
	is(wrong_live(), '', 'but live views go on to be right');
	is(field($id, 'copies'), '{}', 'the copies are gone');
	sql(q{CALL aggjobs_refresh('months')});
	is(wrong(), '', 'and a refresh computes it again');
	my $next = $id + 1;
	sql("CREATE TABLE hours_before_$next (); UPDATE days SET v = v + 1 WHERE bucket = '2026-01-03 UTC'");
	is(wait_backfill(backfill('days', 'snapshot => true')), 'failed', 'one whose copy is in the way of something');
	is(field($next, q{concat_ws(' ', failed > 3, rows_written)}), 't 0', 'writes nothing');
	is(sql("SELECT error FROM aggjobs.chunks WHERE backfill_id = $next AND kind = 'copy' ORDER BY stage LIMIT 1"), qq{relation "hours_before_$next" already exists}, 'and says why');
	sql("DROP TABLE hours_before_$next; SELECT aggjobs_retry_backfill($next)");
	is(wait_backfill($next), 'succeeded', 'tried again');
	is(wrong(), '', 'it puts all right');
	$id = backfill('hours', 'snapshot => true');
	is(wait_backfill($id), 'succeeded', 'another');
	is(sql("SELECT aggjobs_confirm_backfill($id)"), 1, 'is confirmed');
	is(sql("SELECT to_regclass('hours_before_$id') IS NULL"), 't', 'and its copy dropped');
	my %refused = (
		"aggjobs_undo_backfill($id)" => qr/backfill $id has no copies/,
		"aggjobs_confirm_backfill($id)" => qr/backfill $id has no copies/);
	like((sqlstate_of($node, $db, "SELECT $_"))[1], $refused{$_}, $_) for sort keys %refused;
};

subtest 'others come first' => sub {
	reload('aggjobs.backfill_max_lock_waits' => '1');
	my @waiting = map { new_holder() } 1 .. 2;
	hold('hours');
	$_->query_until(qr/go/, "\\echo go\nSELECT FROM aggjobs.rollup WHERE rollup_name = 'hours' FOR UPDATE;\n") for @waiting;
	wait_for($node, $db, q{SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock'}, 'two sessions wait for a lock');
	my $id = backfill('days', 'workers => 1');
	wait_for($node, $db, "SELECT count(*) = 1 FROM aggjobs.backfill_workers WHERE backfill_id = $id AND state = 'waiting' AND phase = 'waiting: locks'", 'a worker makes way');
	is(field($id, 'started_at IS NULL'), 't', 'no chunk is begun');
	let_go();
	is(wait_backfill($id), 'succeeded', 'when they are through it goes on');
	leave($_) for @waiting;
	reload('aggjobs.backfill_max_lock_waits' => '20', 'aggjobs.backfill_max_wal' => '1MB');
	hold('hours');
	$id = backfill('hours', 'workers => 1', q{chunk => '1 day'});
	wait_at_work($id);
	sql(q{SELECT pg_logical_emit_message(false, 'noise', repeat('x', 50000000)) FROM generate_series(1, 4)});
	let_go();
	wait_for($node, $db, "SELECT count(*) = 1 FROM aggjobs.backfill_workers WHERE backfill_id = $id AND phase = 'waiting: WAL'", 'a worker waits until less is logged');
	is(field($id, q{concat_ws(' ', state, done)}), 'running 1', 'before the next chunk');
	reload('aggjobs.backfill_max_wal' => '0');
	is(wait_backfill($id), 'succeeded', 'without limit it goes on');
	is(wrong(), '', 'all is right');
};

subtest 'chunks follow the time that they take' => sub {
	reload('aggjobs.backfill_chunk_time' => '1ms', 'aggjobs.backfill_chunk_size' => '64kB');
	my (undef, undef, $told) = $node->psql($db, q{SELECT aggjobs_backfill('hours', workers => 1, dry_run => true)});
	my ($planned) = $told =~ /: (\d+) chunks/;
	my $id = backfill('hours', 'workers => 1');
	is(wait_backfill($id), 'succeeded', 'chunks that would take too long are cut');
	is(field($id, "chunks > $planned"), 't', 'so that there are more');
	is(sql(qq{SELECT count(*) FROM aggjobs.chunks c WHERE backfill_id = $id AND kind = 'range' AND ("from" <> date_trunc('hour', "from", 'UTC')
		OR attempts <> 1 OR NOT EXISTS (SELECT FROM aggjobs.chunks d WHERE d.backfill_id = $id AND d.kind = 'range' AND d."from" = c."to") AND isfinite("to")
		AND "to" <> (SELECT max(e."to") FROM aggjobs.chunks e WHERE e.backfill_id = $id AND e.kind = 'range'))}), 0, 'of whole buckets, without gaps');
	is(sql(qq{SELECT sum(rows_read) FROM aggjobs.chunks WHERE backfill_id = $id}), sql('SELECT count(*) FROM raw'), 'and read each row once');
	$id = backfill('hours', 'workers => 2', q{chunk => '5 days'});
	is(wait_backfill($id), 'succeeded', 'who says how wide they are');
	is(sql(qq{SELECT count(*) FROM aggjobs.chunks WHERE backfill_id = $id AND isfinite("from") AND isfinite("to") AND "to" - "from" >= interval '5 days'}) > 0, 1, 'gets them as wide');
	reload('aggjobs.backfill_chunk_time' => '20s', 'aggjobs.backfill_chunk_size' => '128MB');
	is(wrong(), '', 'all is right');
};

subtest 'the server dies' => sub {
	hold('hours');
	my $id = backfill('hours', 'workers => 2', q{chunk => '1 day'}, 'parents => true');
	wait_for($node, $db, "SELECT count(*) > 0 FROM aggjobs.backfill_workers WHERE backfill_id = $id AND state = 'at work'", 'it begins');
	leave($holder);
	kill_server($node);
	$node->start;
	is(wait_backfill($id), 'succeeded', 'it goes on by itself');
	is(wrong(), '', 'all is right');
	$id = backfill('hours', 'workers => 2', q{chunk => '6 hours'}, 'parents => true');
	wait_for($node, $db, "SELECT done > 5 FROM aggjobs.backfills WHERE backfill_id = $id", 'some chunks are done');
	my $done = sql("SELECT string_agg(chunk_no::text, ',') FROM aggjobs.chunks WHERE backfill_id = $id AND state = 'done'");
	my $pid = sql("SELECT pid FROM aggjobs.backfill_workers WHERE backfill_id = $id AND pid IS NOT NULL LIMIT 1");
	kill 'KILL', $pid if $pid;
	# what is left of it is seen until the server has noticed
	ok($node->poll_query_until($db, 'SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ' . ($pid || 0) . ')'), 'the server is back');
	is(wait_backfill($id), 'succeeded', 'a worker that is killed is replaced');
	is(sql("SELECT count(*) FROM aggjobs.chunks WHERE backfill_id = $id AND chunk_no IN ($done) AND attempts > 1"), 0, 'what was done is not done again');
	is(wrong(), '', 'all is right');
	$holder = new_holder();
};

subtest 'what is dropped meanwhile' => sub {
	sql(q{SELECT aggjobs_create_rollup('gone', $q$SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$q$, schedule => NULL)});
	hold('gone');
	my $id = backfill('gone', 'workers => 1', q{chunk => '1 day'});
	wait_for($node, $db, "SELECT count(*) > 0 FROM aggjobs.backfill_workers WHERE backfill_id = $id AND state = 'at work'", 'it begins');
	my $dropper = $node->background_psql($db);
	$dropper->query_until(qr/go/, "\\echo go\nSELECT aggjobs_drop_rollup('gone');\n");
	let_go();
	is(wait_backfill($id), 'failed', 'a backfill of a rollup that is dropped fails');
	like(sql("SELECT error FROM aggjobs.chunks WHERE backfill_id = $id AND state = 'failed' LIMIT 1"), qr/rollup "gone" (does not exist|was dropped)/, 'with the reason');
	$dropper->quit;
};

subtest 'what is refused' => sub {
	my %refused = (
		q{aggjobs_backfill('nothing')} => qr/there is neither a job nor a rollup "nothing"/,
		q{aggjobs_backfill(NULL)} => qr/the name of a job or rollup must not be NULL/,
		q{aggjobs_backfill('hours', days => 0)} => qr/"days" must be 1 to 100000, not 0/,
		q{aggjobs_backfill('hours', now(), days => 3)} => qr/"days" can't be given together with "from" or "to"/,
		q{aggjobs_backfill('hours', now(), now())} => qr/range from .* is empty/,
		q{aggjobs_backfill('hours', workers => 0)} => qr/"workers" must be 1 to 64, not 0/,
		q{aggjobs_backfill('hours', chunk => '-1 day')} => qr/"chunk" must be greater than zero/,
		q{aggjobs_backfill('hours', "order" => 'random')} => qr/"order" must be "newest first" or "oldest first", not "random"/,
		q{aggjobs_backfill('hours', now() + interval '1 day', now() + interval '2 days')} => qr/nothing of "hours" lies in the range/,
		q{aggjobs_repair('nothing')} => qr/rollup "nothing" does not exist/,
		q{aggjobs_wait_backfill(aggjobs_backfill('hours'))} => qr/was changed by this transaction and goes on when it commits/,
		q{aggjobs_wait_backfill(4711)} => qr/backfill 4711 does not exist/,
		q{aggjobs_resume_backfill(1)} => qr/backfill 1 is succeeded and can't be resumed/,
		q{aggjobs_cancel_backfill(1)} => qr/backfill 1 is succeeded and can't be cancelled/,
		q{aggjobs_retry_backfill(1)} => qr/backfill 1 is succeeded and can't be retried/,
		q{aggjobs_alter_backfill(1, NULL)} => qr/"workers" must not be NULL/);
	for my $call (sort keys %refused)
	{
		my ($status, undef, $error) = $node->psql($db, "SELECT $call");
		like($error, $refused{$call}, $call);
	}
	sql(q{CREATE ROLE stranger LOGIN}, q{SELECT aggjobs_grant('stranger')});
	for my $call (q{aggjobs_backfill('hours')}, q{aggjobs_repair('hours')}, q{aggjobs_create_job('spoil', NULL, '[{"kind": "backfill", "backfill": 1, "worker": 1}]')}, 'aggjobs_cancel_backfill(1)', 'aggjobs_wait_backfill(1)', 'aggjobs_undo_backfill(1)')
	{
		my ($status, undef, $error) = $node->psql($db, "SELECT $call", extra_params => [ '-U', 'stranger' ]);
		like($error, qr/permission denied/, "$call by a stranger");
	}
	is($node->safe_psql($db, 'SELECT count(*) FROM aggjobs.backfills', extra_params => [ '-U', 'stranger' ]), 0, 'who sees none');
	my (undef, undef, $told) = $node->psql($db, q{SELECT aggjobs_backfill('hours', chunk => '5 days', dry_run => true)});
	like($told, qr/backfill of "hours": \d+ chunks.*chunk 2: "hours" from (2026-01-0\d \S+) to before (?!\1)/s, 'a dry run tells the chunks');
};

is(check_invariants($node, $db), '', 'the records are true');
$node->stop;
done_testing();
