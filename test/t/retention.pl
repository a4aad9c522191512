# Retention does so much in a run as it is allowed to and goes on in the next,
# waits for nobody for long, takes tables in the order that foreign keys ask
# for, and never removes what is not frozen.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('retention');

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

# A table with so many old rows, and one that stays.
sub make_table
{
	my ($name, $rows) = @_;

	sql(qq{
		CREATE TABLE $name (id int PRIMARY KEY, at timestamptz NOT NULL);
		INSERT INTO $name SELECT i, timestamptz '2020-01-01 00:00+00' + i * interval '1 second'
		FROM generate_series(1, $rows) AS i;
		INSERT INTO $name VALUES (0, now())});
	return;
}

# Keep rows of these tables for a year, by the settings.
sub keep
{
	my (@tables) = @_;

	sql("SELECT aggjobs_set('retention.public.$_', '1 year')") for @tables;
	return;
}

sub forget
{
	my (@tables) = @_;

	sql("SELECT aggjobs_set('retention.public.$_', NULL)") for @tables;
	return;
}

# A job whose step has these keys, as JSON without braces.
sub make_job
{
	my ($keys) = @_;

	sql(q{SELECT aggjobs_drop_job(job_name) FROM aggjobs.jobs WHERE job_name = 'retire'});
	sql(qq{SELECT aggjobs_create_job('retire', NULL, '[{"kind": "retention"$keys}]')});
	return;
}

# Run it: (run, status).
sub retire { return run_to_end($node, 'postgres', 'retire'); }

# A figure of the last step of a run.
sub figure
{
	my ($run, $path) = @_;

	return run_field($node, 'postgres', $run, qq{coalesce(steps -> 0 #>> '{$path}', '')});
}

sub warnings_of
{
	my ($run) = @_;

	return sql("SELECT string_agg(message, E'\\n') FROM aggjobs_logs($run) WHERE level = 'WARNING'");
}

# So many rows are in these tables.
sub counts
{
	my (@tables) = @_;

	return join ' ', map { sql("SELECT count(*) FROM $_") } @tables;
}

# A session in a transaction that holds what this statement locks.
sub holding
{
	my ($statement) = @_;
	my $session = $node->background_psql('postgres');

	$session->query_safe("BEGIN; $statement");
	return $session;
}

subtest 'rows of a run' => sub {
	make_table('a', 500);
	make_table('b', 300);
	keep('a', 'b');
	make_job(', "max_rows": 450, "batch": 200');

	my ($run, $status) = retire();
	is($status, 'succeeded', 'a run that ends before all is done succeeds');
	is(counts('a', 'b'), '51 301', 'it deletes as many rows as it may');
	is(run_field($node, 'postgres', $run, q{(steps -> 0) - 'milliseconds'}),
		'{"kind": "retention", "tables": {"public.a": {"rows": 450, "backlog": 50, "stopped": "max_rows", "partitions": 0}, '
		. '"public.b": {"rows": 0, "backlog": 300, "stopped": "max_rows", "partitions": 0}}, '
		. '"backlog": 350, "stopped": "max_rows", "rows_deleted": 450, "partitions_dropped": 0}',
		'and says what is left');
	is(sql(q{SELECT state FROM aggjobs.health WHERE check_name = 'retention'}), 'ok', 'that is well');

	make_job(', "max_rows": 100');
	retire();
	($run) = retire();
	is(counts('a', 'b'), '1 151', 'the next one goes on, over all tables');
	is(sql(q{SELECT state || ': ' || detail FROM aggjobs.health WHERE check_name = 'retention'}),
		'degraded: 1 jobs left rows twice in a row that should have gone: retire', 'twice in a row is not');
	make_job('');
	($run) = retire();
	is(counts('a', 'b'), '1 1', 'without limit all goes, and what is new stays');
	is(figure($run, 'backlog') . figure($run, 'stopped'), '0', 'nothing is left');
	is(sql(q{SELECT state FROM aggjobs.health WHERE check_name = 'retention'}), 'ok', 'all is well');
};

subtest 'time of a run' => sub {
	sql(q{INSERT INTO a SELECT i, '2020-01-01 00:00+00' FROM generate_series(1, 250) AS i;
		INSERT INTO b SELECT i, '2020-01-01 00:00+00' FROM generate_series(1, 50) AS i});
	make_job(', "max_time": "1 microsecond", "batch": 100');
	my ($run) = retire();
	is(counts('a', 'b'), '151 51', 'one batch is done in any case');
	is(figure($run, 'stopped') . figure($run, 'tables,public.b,stopped'), 'max_timemax_time', 'it says why it ended');
	retire() for 1 .. 2;
	is(counts('a', 'b'), '1 51', 'it goes on');
	retire();
	is(counts('a', 'b'), '1 1', 'through all tables');
};

subtest 'locks on rows' => sub {
	sql(q{INSERT INTO a SELECT i, '2020-01-01 00:00+00' FROM generate_series(1, 250) AS i;
		INSERT INTO b SELECT i, '2020-01-01 00:00+00' FROM generate_series(1, 50) AS i});
	my $session = holding('SELECT FROM a WHERE id = 150 FOR UPDATE');
	make_job(', "batch": 100, "lock_timeout": "100 ms"');
	my ($run, $status) = retire();
	is($status, 'succeeded', 'who is kept waiting does not fail');
	is(counts('a', 'b'), '151 1', 'what was deleted before is gone, and other tables are done');
	is(figure($run, 'tables,public.a'), '{"rows": 100, "backlog": 150, "stopped": "lock_timeout", "partitions": 0}',
		'the result says so');
	like(warnings_of($run), qr/^old rows of table public\.a stay until the next run: others hold locks/, 'so does a warning');

	$session->quit;

	# Rows 101 to 250 are left.  The last but one is in the way of all of them,
	# and then of those that are left when a smaller batch has got through.
	$session = holding('SELECT FROM a WHERE id = 249 FOR UPDATE');
	make_job(', "batch": 200, "lock_timeout": "1 day", "statement_timeout": "100 ms"');
	($run, $status) = retire();
	is($status, 'succeeded', 'a batch over its time does not fail either');
	like(warnings_of($run), qr/^old rows of table public\.a stay until the next run: a batch took longer/, 'it is told');
	is(figure($run, 'tables,public.a'), '{"rows": 100, "backlog": 50, "stopped": "statement_timeout", "partitions": 0}',
		'smaller ones are tried before');
	$session->quit;
	retire();
	is(counts('a', 'b'), '1 1', 'the next run goes on');

	sql(q{INSERT INTO a SELECT i, '2020-01-01 00:00+00' FROM generate_series(1, 10) AS i});
	$session = holding('LOCK a IN ACCESS EXCLUSIVE MODE');
	make_job(', "lock_timeout": "100 ms"');
	($run, $status) = retire();
	is($status, 'succeeded', 'a table that is locked is left out');
	is(figure($run, 'tables,public.a'), '{"rows": 0, "stopped": "lock_timeout", "partitions": 0}',
		'and its rows are not counted');
	is(figure($run, 'backlog_at_least'), '0', 'which the sum says, too');
	$session->quit;
	($run) = retire();
	is(counts('a'), '1', 'until the next run');
};

subtest 'rows that a trigger keeps' => sub {
	sql(q{
		INSERT INTO a SELECT i, '2020-01-01 00:00+00' FROM generate_series(1, 10) AS i;
		CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER keep BEFORE DELETE ON a FOR EACH ROW EXECUTE FUNCTION keep()});
	my ($run, $status) = retire();
	is($status . figure($run, 'tables,public.a'),
		'succeeded{"rows": 0, "backlog": 10, "stopped": "rows_kept", "partitions": 0}', 'are no endless work');
	sql('DROP TABLE a, b');
	forget('a', 'b');
};

subtest 'order of tables' => sub {
	make_table($_, 10) for 'a_parent', 'b_child', 'c_circle', 'd_circle', 'e_mid';
	sql(q{
		ALTER TABLE e_mid ADD FOREIGN KEY (id) REFERENCES a_parent ON DELETE CASCADE;
		ALTER TABLE b_child ADD FOREIGN KEY (id) REFERENCES e_mid;
		ALTER TABLE c_circle ADD up int REFERENCES d_circle DEFERRABLE INITIALLY DEFERRED;
		ALTER TABLE d_circle ADD up int REFERENCES c_circle DEFERRABLE INITIALLY DEFERRED});
	keep('a_parent', 'b_child', 'c_circle', 'd_circle');
	make_job('');
	my ($run, $status) = retire();
	is($status, 'succeeded', 'rows that refer to others go first');
	is(counts('a_parent', 'b_child', 'c_circle', 'd_circle', 'e_mid'), '1 1 1 1 1', 'also by way of tables in between');

	sql(q{INSERT INTO a_parent VALUES (1, '2020-01-01 00:00+00');
		INSERT INTO e_mid VALUES (1, now());
		INSERT INTO b_child VALUES (1, now())});
	($run, $status) = retire();
	is($status . ' ' . run_field($node, 'postgres', $run, 'sqlstate'), 'failed 23503',
		'what new rows refer to can not go, and that is no secret');
	forget('a_parent', 'b_child', 'c_circle', 'd_circle');
	sql('DROP TABLE b_child, e_mid, a_parent, c_circle, d_circle CASCADE');
};

# A table with a partition for each of three years, of which the second has
# partitions of its own, and one for the rest.
sub make_parts
{
	sql(q{
		CREATE TABLE p (at timestamptz NOT NULL, n int, PRIMARY KEY (at, n)) PARTITION BY RANGE (at);
		CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM ('2018-01-01 00:00+00') TO ('2019-01-01 00:00+00');
		CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM ('2019-01-01 00:00+00') TO ('2020-01-01 00:00+00') PARTITION BY LIST (n);
		CREATE TABLE p_2_odd PARTITION OF p_2 FOR VALUES IN (1, 3, 5, 7, 9);
		CREATE TABLE p_2_rest PARTITION OF p_2 DEFAULT;
		CREATE TABLE p_3 PARTITION OF p FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2021-01-01 00:00+00');
		CREATE TABLE p_rest PARTITION OF p DEFAULT;
		INSERT INTO p SELECT make_timestamptz(y, 6, 1, 0, 0, 0), n FROM unnest('{2017, 2018, 2019, 2020}'::int[]) AS y,
			generate_series(1, 10) AS n;
		INSERT INTO p VALUES (now(), 1)});
	return;
}

# The partitions that are there, with their rows.
sub parts
{
	return sql(q{SELECT string_agg(r.name || ' ' || r.rows, ' ' ORDER BY r.name)
		FROM (SELECT c.relname AS name, (SELECT count(*) FROM p WHERE p.tableoid = c.oid) AS rows
			FROM pg_partition_tree('p') t JOIN pg_class c ON c.oid = t.relid WHERE t.isleaf) r});
}

subtest 'partitions' => sub {
	make_parts();
	keep('p');
	make_job(', "lock_timeout": "100 ms"');

	# Who reads one partition holds up that one alone.
	my $session = holding('SELECT FROM p_2_odd');
	my ($run, $status) = retire();
	is($status, 'succeeded', 'a partition that is in use does not make it fail');
	is(parts(), 'p_2_odd 5 p_2_rest 5 p_rest 1', 'it stays, the others go; a default one loses rows');
	is(figure($run, 'tables,public.p'), '{"rows": 10, "backlog": 10, "stopped": "lock_timeout", "partitions": 2}',
		'the result says so');
	like(warnings_of($run), qr/^partition public\.p_2 is dropped by the next run: it could not be locked in time$/,
		'a warning says which');
	$session->quit;
	($run) = retire();
	is(parts(), 'p_rest 1', 'the next run drops it, with those in it');
	is(figure($run, 'tables,public.p'), '{"rows": 0, "backlog": 0, "partitions": 1}', 'as one');
	sql('DROP TABLE p');

	# Who reads the table holds up all of them, and is asked once.
	make_parts();
	$session = holding('SELECT FROM p');
	($run) = retire();
	is(parts(), 'p_1 10 p_2_odd 5 p_2_rest 5 p_3 10 p_rest 1', 'while the table is read, none of its partitions goes');
	is(() = warnings_of($run) =~ /partition/g, 1, 'there is one attempt');
	is(figure($run, 'tables,public.p,backlog'), '30', 'they are the backlog');
	$session->quit;

	# Others who come while we wait for the reader get their turn.
	make_job(', "lock_timeout": "1 second"');
	$session = holding('SELECT FROM p');
	$run = trigger($node, 'postgres', 'retire');
	wait_for($node, 'postgres', q{SELECT EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted)});
	is(counts('p'), '31', 'a reader that comes after us is not kept waiting for ever');
	wait_for_end($node, 'postgres', $run);
	$session->quit;
	retire();
	is(parts(), 'p_rest 1', 'until they are free');
	sql('DROP TABLE p');
};

subtest 'partitions that foreign keys refer to' => sub {
	make_parts();
	sql(q{
		CREATE TABLE refers (at timestamptz, n int, FOREIGN KEY (at, n) REFERENCES p);
		INSERT INTO refers SELECT at, n FROM p WHERE at = '2018-06-01 00:00+00' AND n = 1});
	make_job('');
	my ($run, $status) = retire();
	is($status . ' ' . run_field($node, 'postgres', $run, 'sqlstate'), 'failed 23503', 'stay while rows are referred to');
	is(parts(), 'p_1 10 p_2_odd 5 p_2_rest 5 p_3 10 p_rest 11', 'as they are');
	sql('TRUNCATE refers');
	($run, $status) = retire();
	is($status . ' ' . parts(), 'succeeded p_rest 1', 'and go when none is');
	sql('DROP TABLE refers, p');
};

subtest 'partitions of others' => sub {
	make_parts();
	sql(q{
		CREATE ROLE worker LOGIN;
		SELECT aggjobs_grant('worker');
		GRANT SELECT, DELETE ON p TO worker;
		GRANT CREATE ON SCHEMA public TO worker});
	$node->safe_psql('postgres', q{SELECT aggjobs_create_job('of worker', NULL,
		'[{"kind": "retention", "table": "public.p", "column": "at", "keep": "1 year"}]')},
		extra_params => [ '-U', 'worker' ]);
	my ($run, $status) = run_to_end($node, 'postgres', 'of worker');
	is($status . ' ' . parts(), 'succeeded p_1 0 p_2_odd 0 p_2_rest 0 p_3 0 p_rest 1', 'lose their rows');
	sql(q{SELECT aggjobs_drop_job('of worker'); DROP TABLE p});
	forget('p');
};

subtest 'the frozen line' => sub {
	make_table('raw', 500);
	sql(q{
		INSERT INTO raw SELECT 1000 + i, timestamptz '2020-01-03 00:00+00' FROM generate_series(1, 100) AS i;
		SELECT aggjobs_create_rollup('by_hour', $$SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*) AS n
			FROM raw GROUP BY 1$$, schedule => NULL);
		SELECT aggjobs_create_rollup('by_day', $$SELECT date_trunc('day', bucket, 'UTC') AS bucket, sum(n) AS n
			FROM by_hour GROUP BY 1$$, schedule => NULL)});
	my $frozen = q{SELECT coalesce(date_trunc('day', frozen_before, 'UTC')::text, 'never') FROM aggjobs.rollups WHERE rollup_name = };
	keep('raw');
	make_job(', "lock_timeout": "100 ms", "batch": 200');

	my ($run) = retire();
	is(counts('raw'), '601', 'nothing goes that is not computed');
	is(figure($run, 'tables,public.raw'), '{"rows": 0, "backlog": 600, "stopped": "rollups", "partitions": 0}',
		'and why is in the result');
	sql('CALL aggjobs_refresh(\'by_day\')');

	my $session = holding('SELECT FROM raw WHERE id = 1 FOR UPDATE');
	($run) = retire();
	is(counts('raw'), '601', 'a first batch that is undone');
	is(sql("$frozen 'by_hour'"), 'never', 'leaves the line where it was');
	$session->quit;

	# by_hour is the first in order, and takes all that is allowed.
	keep('by_hour');
	make_job(', "max_time": "1 microsecond"');
	retire();
	is(counts('by_hour'), '0', 'a run without time for a second table');
	isnt(sql("$frozen 'by_day'"), 'never', 'freezes what is over the first');
	is(sql("$frozen 'by_hour'"), 'never', 'but nothing over the second');

	# Cancelled in the middle, at a row that somebody holds.
	make_job(', "lock_timeout": "1 hour", "batch": 200');
	$session = holding('SELECT FROM raw WHERE id = 450 FOR UPDATE');
	$run = trigger($node, 'postgres', 'retire');
	wait_for($node, 'postgres', qq{SELECT EXISTS (SELECT FROM aggjobs.runs r JOIN pg_locks l ON l.pid = r.worker_pid
		WHERE r.run_id = $run AND NOT l.granted)});
	sql("SELECT aggjobs_cancel($run)");
	is(wait_for_end($node, 'postgres', $run), 'cancelled', 'a run can be cancelled in a batch');
	is(counts('raw'), '201', 'batches before it stay done');
	isnt(sql("$frozen 'by_hour'"), 'never', 'and what they took is frozen');
	$session->quit;
	sql(q{CALL aggjobs_refresh('by_day')});
	is(sql('SELECT sum(n) FROM by_day'), '600', 'nothing is computed again from what is left');
	retire();
	is(counts('raw'), '1', 'the next run goes on');
	is(sql('SELECT sum(n) FROM by_day'), '600', 'with the same figures');
};

subtest 'rows that are to be computed again' => sub {
	# Of these, raw rows are kept longer than hours.
	sql(q{
		SELECT aggjobs_drop_rollup('by_day'); SELECT aggjobs_drop_rollup('by_hour');
		TRUNCATE raw;
		INSERT INTO raw SELECT i, timestamptz '2021-01-01 00:00+00' + i * interval '1 hour' FROM generate_series(0, 71) AS i;
		SELECT aggjobs_create_rollup('by_hour', $$SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*) AS n
			FROM raw GROUP BY 1$$, schedule => NULL);
		SELECT aggjobs_create_rollup('by_day', $$SELECT date_trunc('day', bucket, 'UTC') AS bucket, sum(n) AS n
			FROM by_hour GROUP BY 1$$, schedule => NULL)});
	sql(q{CALL aggjobs_refresh('by_day')});
	forget('raw');
	# A late row that nobody has counted yet.
	sql(q{INSERT INTO raw VALUES (100, '2021-01-02 12:30+00')});
	make_job('');
	my ($run) = retire();
	is(sql('SELECT min(bucket) FROM by_hour'), '2021-01-02 00:00:00+00', 'stay, with all later ones');
	is(figure($run, 'tables,public.by_hour'), '{"rows": 24, "backlog": 48, "stopped": "rollups", "partitions": 0}',
		'which the result says');
	sql(q{CALL aggjobs_refresh('by_day')});
	retire();
	is(counts('by_hour'), '0', 'until they are');
	is(sql('SELECT string_agg(n::text, \' \' ORDER BY bucket) FROM by_day'), '24 25 24', 'and the level above has learnt of them');
};

is(check_invariants($node, 'postgres'), '', 'the records are in order');
$node->stop;
done_testing();
