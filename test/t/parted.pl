# Runs that lead a backfill: jobs of parts, and the first computation of a rollup.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $node = start_node('parted',
	conf => "aggjobs.max_backfill_workers = 3\naggjobs.backfill_chunk_size = '64kB'\nrestart_after_crash = on\n");

sub sql { return $node->safe_psql($db, 'SET client_min_messages = warning;' . join(';', @_)); }

sub field
{
	my ($run, $what) = @_;
	return sql("SELECT $what FROM aggjobs.backfills WHERE run_id = $run");
}

# A part is worked on while the test holds the advisory lock of that number.
my $holder;

sub new_holder
{
	$holder = $node->background_psql($db);
	$holder->query_safe('SET client_min_messages = error');
	return;
}
sub hold { $holder->query_safe("SELECT pg_advisory_lock($_[0])"); return; }
sub let_go { $holder->query_safe('SELECT pg_advisory_unlock_all()'); return; }

sub wait_at_lock
{
	my ($n) = @_;
	wait_for($node, $db, "SELECT count(*) >= $n FROM pg_stat_activity WHERE backend_type = 'pg_aggjobs worker' AND wait_event = 'advisory'",
		"$n workers wait for the lock");
	return;
}

new_holder();
sql(q{
	CREATE TABLE docs (id bigint PRIMARY KEY, name text, seen integer NOT NULL DEFAULT 0, held integer, divisor integer NOT NULL DEFAULT 1);
	INSERT INTO docs SELECT g, CASE WHEN g % 10 > 0 THEN format('it''s "%s"', g) END FROM generate_series(1, 60) g;
	CREATE FUNCTION process(doc bigint, doc_name text) RETURNS void LANGUAGE plpgsql AS $f$
	DECLARE d docs%ROWTYPE;
	BEGIN
		SELECT * INTO d FROM docs WHERE id = doc AND name IS NOT DISTINCT FROM doc_name;
		IF d.held IS NOT NULL THEN PERFORM pg_advisory_xact_lock(d.held); END IF;
		IF d.divisor < 0 THEN RAISE EXCEPTION 'document % needs nothing', doc USING ERRCODE = '02000'; END IF;
		UPDATE docs SET seen = seen + 1 / divisor WHERE id = doc;
		RAISE NOTICE 'document %', doc;
	END $f$;
	SELECT aggjobs_create_parted_job('docs', 'SELECT id, name FROM docs ORDER BY id', 'SELECT process($1, $2)', workers => 3)});

subtest 'each part once' => sub {
	hold(1);
	sql('UPDATE docs SET held = 1 WHERE id <= 3');
	my $run = trigger($node, $db, 'docs');
	wait_at_lock(3);
	is(field($run, q{concat_ws(' ', name, state, chunks, done, running, workers)}), 'docs running 60 0 3 3', 'three workers are at it');
	is(sql(qq{SELECT string_agg(w.chunk_no::text, ' ' ORDER BY w.chunk_no) FROM aggjobs.backfill_workers w JOIN aggjobs.backfills b USING (backfill_id)
		WHERE b.run_id = $run AND w.state = 'at work'}), '1 2 3', 'each with another part');
	let_go();
	is(wait_for_end($node, $db, $run), 'succeeded', 'the run succeeds');
	is(sql('SELECT DISTINCT seen FROM docs'), 1, 'each part was done once');
	is(field($run, q{concat_ws(' ', state, percent, done)}), 'succeeded 100.0 60', 'so the view says');
	is(run_field($node, $db, $run, q{steps -> 0 ->> 'parts'}), 60, 'and the result of the run');
	is(run_field($node, $db, $run, 'rows_written'), 60, 'with the rows of all workers');
	my $id = field($run, 'backfill_id');
	is(sql("SELECT count(*), count(DISTINCT worker_no) FROM aggjobs_backfill_logs($id) WHERE message LIKE 'document %'"), '60|3', 'the lines of all workers');
	is(sql("SELECT bool_and(logged_at >= before) FROM (SELECT logged_at, lag(logged_at) OVER () AS before FROM aggjobs_backfill_logs($id)) l"), 't', 'are in order of time');
	is(sql("SELECT count(*) FROM aggjobs_backfill_logs($id, tail => 5)"), 5, 'the last ones');
	is(sql("SELECT count(*) FROM aggjobs_backfill_logs($id, since => (SELECT max(logged_at) FROM aggjobs_backfill_logs($id)))"), 0, 'and those since');
	is(sql("SELECT count(*) > 0 AND bool_and(worker_no = 2) FROM aggjobs_backfill_logs($id, worker => 2)"), 't', 'and those of one worker');
	sql('UPDATE docs SET seen = 0, held = NULL');
};

subtest 'a part that is given to two workers' => sub {
	hold(1);
	sql('UPDATE docs SET held = 1, seen = 0 WHERE id = 60', 'UPDATE docs SET seen = 0');
	my $run = trigger($node, $db, 'docs');
	wait_at_lock(1);
	wait_for($node, $db, "SELECT done = 59 FROM aggjobs.backfills WHERE run_id = $run", 'all others are done');
	sql(q{UPDATE aggjobs.chunk SET state = 'waiting' WHERE state = 'running'});
	wait_at_lock(2);
	let_go();
	is(wait_for_end($node, $db, $run), 'succeeded', 'as if its worker were dead');
	is(sql('SELECT DISTINCT seen FROM docs'), 1, 'is done once all the same');
	is(sql(q{SELECT count(*) FROM aggjobs.chunks WHERE attempts = 2 AND state = 'done'}), 1, 'by the other one');
	sql('UPDATE docs SET seen = 0, held = NULL');
};

subtest 'parts that fail, and parts that are skipped' => sub {
	sql('UPDATE docs SET divisor = 0 WHERE id IN (7, 20)', 'UPDATE docs SET divisor = -1 WHERE id IN (8, 9, 30)');
	my ($run, $status) = run_to_end($node, $db, 'docs');
	is($status, 'failed', 'the run fails');
	is(run_field($node, $db, $run, q{concat_ws(' ', sqlstate, error)}), '22012 2 of 60 parts failed', 'and tells how many parts did');
	like(run_field($node, $db, $run, 'detail'), qr/division by zero/, 'and why');
	is(field($run, q{concat_ws(' ', state, done, skipped, failed)}), 'failed 55 3 2', 'the rest was done, some skipped');
	is(sql(q{SELECT string_agg(concat_ws(' ', step ->> 'id', error), '; ' ORDER BY chunk_no) FROM aggjobs.chunks
		WHERE state = 'skipped'}), join('; ', map { "$_ document $_ needs nothing" } 8, 9, 30), 'with what they said');
	is(sql('SELECT count(*) FROM docs WHERE seen = 1'), 55, 'once each');
	sql('UPDATE docs SET divisor = 1');
	my $again = sql("SELECT aggjobs_retry($run)");
	is(wait_for_end($node, $db, $again), 'succeeded', 'another attempt');
	is(sql(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM docs WHERE seen = 0}), '8 9 30', 'does those that failed');
	is(sql('SELECT max(seen) FROM docs'), 1, 'and none twice');
	sql('UPDATE docs SET seen = 0');
};

subtest 'cancel, and go on' => sub {
	hold(1);
	sql('UPDATE docs SET held = 1 WHERE id IN (20, 21, 22)');
	my $run = trigger($node, $db, 'docs');
	wait_at_lock(3);
	my $since = sql('SELECT clock_timestamp()');
	sql("SELECT aggjobs_cancel($run)");
	is(wait_for_end($node, $db, $run), 'cancelled', 'the run is cancelled');
	is(field($run, 'state'), 'cancelled', 'and with it the work of the others');
	wait_for($node, $db, "SELECT bool_and(w.state = 'ended') FROM aggjobs.backfill_workers w JOIN aggjobs.backfills b USING (backfill_id) WHERE b.run_id = $run", 'they stop');
	is(sql(qq{SELECT max(ended_at) - '$since' < interval '1 s' FROM aggjobs.runs WHERE ended_at > '$since'}), 't', 'within a second');
	is(sql('SELECT count(*) FROM docs WHERE seen = 1'), 19, 'what is done stays done');
	let_go();
	my $again = sql("SELECT aggjobs_retry($run)");
	is(wait_for_end($node, $db, $again), 'succeeded', 'another attempt goes on');
	is(sql('SELECT DISTINCT seen FROM docs'), 1, 'and does nothing twice');
	hold(1);
	$run = trigger($node, $db, 'docs');
	wait_at_lock(3);
	my $id = field($run, 'backfill_id');
	sql("SELECT aggjobs_pause_backfill($id)");
	let_go();
	wait_for($node, $db, "SELECT running = 0 FROM aggjobs.backfills WHERE backfill_id = $id", 'parts at work are ended');
	is(run_field($node, $db, $run, 'status'), 'running', 'paused, the run waits');
	is(field($run, 'done'), 22, 'and no part is begun');
	sql("SELECT aggjobs_resume_backfill($id)");
	is(wait_for_end($node, $db, $run), 'succeeded', 'resumed, it goes on');
	sql('UPDATE docs SET held = 1 WHERE id = 40');
	hold(1);
	$run = trigger($node, $db, 'docs');
	wait_at_lock(1);
	$id = field($run, 'backfill_id');
	sql("SELECT aggjobs_cancel_backfill($id)");
	is(wait_for_end($node, $db, $run), 'cancelled', 'with the backfill the run is cancelled');
	let_go();
	sql("SELECT aggjobs_retry_backfill($id)");
	is(sql("SELECT aggjobs_wait_backfill($id, '1 minute')"), 'succeeded', 'and can be taken up without it');
	sql('UPDATE docs SET seen = 0, held = NULL');
};

subtest 'a time limit, and the death of the server' => sub {
	sql('UPDATE docs SET held = 1 WHERE id = 30', q{SELECT aggjobs_alter_job('docs', timeout => interval '1 second')});
	hold(1);
	my ($run, $status) = run_to_end($node, $db, 'docs');
	is($status, 'timed_out', 'a run over its time limit is ended');
	is(field($run, 'state'), 'cancelled', 'and its backfill');
	let_go();
	sql('UPDATE docs SET seen = 0', q{SELECT aggjobs_alter_job('docs', timeout => interval '0')});
	hold(1);
	$run = trigger($node, $db, 'docs');
	wait_at_lock(1);
	wait_for($node, $db, "SELECT done = 59 FROM aggjobs.backfills WHERE run_id = $run", 'all others are done');
	kill_server($node);
	leave($holder);
	$node->start;
	new_holder();
	wait_for($node, $db, "SELECT status = 'succeeded' FROM aggjobs.runs WHERE retry_of = $run", 'the next attempt succeeds');
	is(sql('SELECT DISTINCT seen FROM docs'), 1, 'each part was done once');
	sql('UPDATE docs SET seen = 0, held = NULL');
};

subtest 'what a command may be' => sub {
	sql(q{CREATE PROCEDURE in_two(doc bigint) LANGUAGE plpgsql AS $p$
		BEGIN UPDATE docs SET seen = seen + 1 WHERE id = doc; COMMIT; UPDATE docs SET seen = seen + 1 WHERE id = doc; END $p$},
		q{SELECT aggjobs_create_parted_job('in two', 'SELECT id FROM docs', 'CALL in_two($1)')});
	my ($run, $status) = run_to_end($node, $db, 'in two');
	is($status, 'succeeded', 'a procedure that commits');
	is(sql('SELECT DISTINCT seen FROM docs'), 2, 'does all of it');
	sql(q{CREATE TABLE got (a integer, b text, c timestamptz, d integer[])},
		q{SELECT aggjobs_create_parted_job('types', $q$VALUES (1, 'x"''$1', '2026-01-02 03:04:05+00'::timestamptz, ARRAY[1, NULL]), (2, NULL, 'infinity', NULL)$q$,
			'INSERT INTO got VALUES ($1, $2, $3, $4); UPDATE got SET a = -a WHERE a = $1')});
	($run, $status) = run_to_end($node, $db, 'types');
	is($status, 'succeeded', 'two statements with values of all types');
	is(sql(q{SET timezone = UTC; SELECT string_agg(got::text, ' ' ORDER BY a) FROM got}), q{(-2,,infinity,) (-1,"x""'$1","2026-01-02 03:04:05+00","{1,NULL}")}, 'and NULLs');
	sql(q{SELECT aggjobs_create_parted_job('nothing', 'SELECT id FROM docs WHERE false', 'SELECT $1')});
	($run, $status) = run_to_end($node, $db, 'nothing');
	is($status . ' ' . run_field($node, $db, $run, q{steps -> 0 ->> 'parts'}), 'succeeded 0', 'no parts');
	hold(1);
	sql('UPDATE docs SET held = 1 WHERE id = 5',
		q{SELECT aggjobs_create_parted_job('slow', 'SELECT id, name FROM docs WHERE id < 10', 'SELECT process($1, $2)', settings => '{"statement_timeout": "300ms"}')});
	($run, $status) = run_to_end($node, $db, 'slow');
	is(run_field($node, $db, $run, q{concat_ws(' ', status, sqlstate, error)}), 'failed AJ002 1 of 9 parts failed', 'a statement over its limit fails its part alone');
	let_go();
	my %refused = (
		q{aggjobs_create_parted_job('x', 'SELECT 1; SELECT 2', 'SELECT $1')} => qr/what lists the parts must be one SELECT/,
		q{aggjobs_create_parted_job('x', 'DELETE FROM docs RETURNING id', 'SELECT $1')} => qr/what lists the parts must be one SELECT/,
		q{aggjobs_create_parted_job('x', 'SELEC', 'SELECT $1')} => qr/syntax error/,
		q{aggjobs_create_parted_job('x', 'SELECT 1', 'COMMIT')} => qr/COMMIT is not allowed/,
		q{aggjobs_create_parted_job('x', NULL, 'SELECT $1')} => qr/needs the key "parts_query"/,
		q{aggjobs_create_parted_job('x', 'SELECT 1', NULL)} => qr/needs the key "command"/,
		q{aggjobs_create_parted_job('x', 'SELECT 1', 'SELECT $1', workers => 65)} => qr/"workers" must be 1 to 64, not 65/);
	for my $call (sort keys %refused)
	{
		my (undef, undef, $error) = $node->psql($db, "SELECT $call");
		like($error, $refused{$call}, $call);
	}
	sql(q{SELECT aggjobs_create_parted_job('twice', 'SELECT 1 AS a, 2 AS a', 'SELECT $1')},
		q{SELECT aggjobs_create_parted_job('third', 'SELECT 1 AS a', 'SELECT $1 + $3')});
	($run, $status) = run_to_end($node, $db, 'twice');
	like(run_field($node, $db, $run, 'error'), qr/returns two columns "a"/, 'two columns of one name');
	($run, $status) = run_to_end($node, $db, 'third');
	like(run_field($node, $db, $run, 'detail'), qr/there is no parameter \$3/, 'a parameter that is no column');
	my (undef, undef, $told) = $node->psql($db, q{SELECT aggjobs_trigger('docs', dry_run => true)});
	like($told, qr/would run the command for each of 60 parts/, 'a dry run counts the parts');
	(undef, undef, my $error) = $node->psql($db, q{CALL aggjobs_run('docs')});
	like($error, qr/can't be run in a session/, 'not in a session');
};

subtest 'the first computation of a rollup' => sub {
	sql(q{
		CREATE TABLE raw (at timestamptz NOT NULL, k integer, v integer NOT NULL);
		CREATE INDEX ON raw (at);
		INSERT INTO raw SELECT '2026-01-01 UTC'::timestamptz + g * interval '1 minute', g % 7, g % 100 + 1 FROM generate_series(0, 14399) AS g;
		SELECT aggjobs_create_rollup('hours', $q$SELECT date_trunc('hour', at, 'UTC') AS bucket, k, count(*) AS n, sum(v) AS v FROM raw GROUP BY 1, 2$q$, schedule => NULL);
		SELECT aggjobs_create_rollup('days', $q$SELECT date_trunc('day', bucket, 'UTC') AS bucket, k, sum(n) AS n, sum(v) AS v FROM hours GROUP BY 1, 2$q$, schedule => NULL);
		SELECT aggjobs_create_job('fill', NULL, '[{"kind": "rollup", "rollup": "days"}]')});
	my ($run, $status) = run_to_end($node, $db, 'fill');
	is($status, 'succeeded', 'the first run of its job');
	is(field($run, q{concat_ws(' ', name, state, workers, failed)}), 'days succeeded 3 0', 'leads a backfill of the hierarchy');
	is(run_field($node, $db, $run, q{steps -> 0 ->> 'ranges'}), 0, 'that leaves nothing to the refresh after it');
	is(run_field($node, $db, $run, q{rows_written = (SELECT count(*) FROM hours) + (SELECT count(*) FROM days)}), 't', 'all rows are counted');
	my $wrong = q{SELECT (SELECT count(*) FROM ((SELECT date_trunc('hour', at, 'UTC'), k, count(*), sum(v) FROM raw GROUP BY 1, 2) EXCEPT ALL TABLE hours_live) x)
		+ (SELECT count(*) FROM ((SELECT date_trunc('day', at, 'UTC'), k, count(*)::numeric, sum(v)::numeric FROM raw GROUP BY 1, 2) EXCEPT ALL SELECT bucket, k, n, v FROM days) x)};
	is(sql($wrong), 0, 'it is right');
	($run, $status) = run_to_end($node, $db, 'fill');
	is(field($run, 'count(*)'), 0, 'the next run leads none');
	sql(q{SELECT aggjobs_alter_rollup('hours', $q$SELECT date_trunc('hour', at, 'UTC') AS bucket, k, count(*) AS n, sum(v) AS v, max(v) AS most FROM raw GROUP BY 1, 2$q$)});
	wait_for($node, $db, q{SELECT count(*) = 0 FROM aggjobs.rollups WHERE replaces = 'hours'}, 'the altered rollup takes its place');
	is(sql(q{SELECT string_agg(state, ' ') FROM aggjobs.backfills WHERE name = 'hours_next'}), 'succeeded', 'and was filled in the same way');
	is(sql($wrong =~ s/TABLE hours_live/SELECT bucket, k, n, v FROM hours_live/r), 0, 'it is right');
	is(sql('SELECT count(*) FROM hours WHERE most IS NULL'), 0, 'with its new column');
};

is(check_invariants($node, $db), '', 'the records are true');
$node->stop;
done_testing();
