# Rows reach a source by many ways.  Each of them is noted by the transaction
# that writes, so the live view is right at once and the table after a refresh.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Utils;
use RollupTest;
use Test::More;

my $node = start_node('rollup_writers');
my $session = open_session($node);

$session->query_safe(q{
	CREATE TABLE dim (k text PRIMARY KEY, active boolean DEFAULT true);
	INSERT INTO dim VALUES ('a'), ('b'), ('c'), ('d'), ('e');
	CREATE TABLE raw (
		id bigserial,
		at timestamptz NOT NULL,
		k text REFERENCES dim ON UPDATE CASCADE ON DELETE SET NULL,
		v bigint,
		note text,
		PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
	CREATE TABLE jan PARTITION OF raw FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-02-01 00:00+00');
	CREATE TABLE feb PARTITION OF raw FOR VALUES FROM ('2025-02-01 00:00+00') TO ('2025-03-01 00:00+00');
	CREATE TABLE rest PARTITION OF raw DEFAULT;
	CREATE INDEX ON raw (at);
	INSERT INTO raw (at, k, v) SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '47 minutes', chr(97 + i % 4), i
	FROM generate_series(0, 1500) AS i;
	-- A foreign key to the source itself makes moves between partitions special.
	CREATE TABLE detail (id bigint, at timestamptz,
		FOREIGN KEY (id, at) REFERENCES raw ON UPDATE CASCADE ON DELETE CASCADE);
	INSERT INTO detail SELECT id, at FROM raw WHERE id % 100 = 1});
my $rollup = make_rollup($node, 'writes', by_hour('raw'));

sub writes
{
	my ($what, $sql) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	write_ok($rollup, $session, $what, $sql);
	return;
}

# The same by a new session, which can be given rows for COPY.
sub copies
{
	my ($what, $sql) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->safe_psql('postgres', $sql);
	is_noted($rollup, $what);
	is_fresh($rollup, $what);
	return;
}

subtest 'COPY' => sub {
	my $file = PostgreSQL::Test::Utils::tempdir() . '/rows';

	copies('text into a partitioned table', join "\n", 'COPY raw (at, k, v) FROM stdin;',
		(map { "2025-0$_-05 10:30+00\ta\t$_" } 1 .. 4), "\\.\n");
	copies('text into one partition', "COPY jan (id, at, k, v) FROM stdin;\n"
		  . "90001\t2025-01-05 11:30+00\ta\t1\n\\.\n");
	copies('binary, more than one batch', qq{
		COPY (SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '10 minutes' AS at, 'b' AS k, 1::bigint AS v
			FROM generate_series(1, 6000) AS i) TO '$file' (FORMAT binary);
		COPY raw (at, k, v) FROM '$file' (FORMAT binary)});
	copies('with WHERE', "COPY raw (at, k, v) FROM stdin WHERE v > 1;\n"
		  . "2025-01-06 11:30+00\ta\t1\n2025-01-06 12:30+00\ta\t2\n\\.\n");
	copies('FREEZE into a table truncated by the same transaction',
		"BEGIN; TRUNCATE jan CASCADE; COPY jan (id, at, k, v) FROM stdin (FREEZE);\n"
		  . "90002\t2025-01-06 11:30+00\ta\t1\n\\.\nCOMMIT");
	writes('rows to play with', q{
		INSERT INTO raw (at, k, v) SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '47 minutes', chr(97 + i % 4), i
		FROM generate_series(0, 900) AS i;
		INSERT INTO detail SELECT id, at FROM raw WHERE id % 100 = 1 ON CONFLICT DO NOTHING});
};

subtest 'statements with several actions' => sub {
	my $one = q{(SELECT id, at FROM raw WHERE at >= '2025-01-10 00:00+00' ORDER BY at LIMIT 1)};

	writes('ON CONFLICT DO NOTHING', qq{
		INSERT INTO raw (id, at, k, v) SELECT id, at, 'a', 99 FROM $one AS o
		UNION ALL SELECT 91000, '2025-01-10 07:00+00', 'a', 1 ON CONFLICT DO NOTHING});
	writes('ON CONFLICT DO UPDATE', qq{
		INSERT INTO raw (id, at, k, v) SELECT id, at, 'a', 99 FROM $one AS o
		ON CONFLICT (id, at) DO UPDATE SET v = raw.v + excluded.v, k = 'b'});
	writes('MERGE with each action', q{
		MERGE INTO raw USING (SELECT id, at, row_number() OVER (ORDER BY at) AS nth FROM raw
			WHERE at >= '2025-01-11 00:00+00' AND at < '2025-01-12 00:00+00'
			UNION ALL SELECT -1, '2025-02-11 00:00+00', 0 UNION ALL SELECT -2, '2025-02-11 00:00+00', -1) AS s
		ON raw.id = s.id AND raw.at = s.at
		WHEN MATCHED AND nth % 4 = 0 THEN DELETE
		WHEN MATCHED AND nth % 4 = 1 THEN UPDATE SET v = raw.v + 1000
		WHEN MATCHED AND nth % 4 = 2 THEN UPDATE SET at = raw.at + interval '31 days'
		WHEN MATCHED THEN DO NOTHING
		WHEN NOT MATCHED AND nth = 0 THEN INSERT (at, k, v) VALUES (s.at, 'c', 5)
		WHEN NOT MATCHED THEN DO NOTHING});
	writes('WITH that inserts, updates and deletes', q{
		WITH gone AS (DELETE FROM raw WHERE at >= '2025-01-12 00:00+00' AND at < '2025-01-12 12:00+00' RETURNING *),
			changed AS (UPDATE raw SET v = v + 5 WHERE at >= '2025-01-12 12:00+00' AND at < '2025-01-13 00:00+00' RETURNING *)
		INSERT INTO raw (at, k, v) SELECT at + interval '30 days', k, v FROM gone
		UNION ALL SELECT at + interval '40 days', k, v FROM changed});
	writes('UPDATE to another partition', q{
		UPDATE raw SET at = at + interval '31 days' WHERE at >= '2025-01-13 00:00+00' AND at < '2025-01-14 00:00+00'});
	writes('UPDATE to another partition, the key is referenced', q{
		UPDATE raw SET at = at + interval '1 month'
		WHERE (id, at) IN (SELECT id, at FROM detail WHERE at < '2025-01-20 00:00+00')});
	writes('UPDATE FROM', q{
		UPDATE raw SET v = v + 1 FROM dim WHERE dim.k = raw.k AND dim.k = 'd' AND at < '2025-01-15 00:00+00'});
	writes('DELETE USING', q{
		DELETE FROM raw USING dim WHERE dim.k = raw.k AND dim.k = 'd' AND at < '2025-01-03 00:00+00'});
	writes('SELECT INTO with a WITH that writes, planned for workers', q{
		SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
		CREATE TABLE made AS SELECT count(*) FROM raw;
		INSERT INTO raw (at, k, v) SELECT '2025-02-14 00:30+00', 'a', count(*) FROM raw;
		RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size});
};

subtest 'foreign keys' => sub {
	writes('ON UPDATE CASCADE', q{UPDATE dim SET k = 'bb' WHERE k = 'b'});
	writes('ON DELETE SET NULL', q{DELETE FROM dim WHERE k = 'bb'});
	$session->query_safe(q{
		ALTER TABLE raw DROP CONSTRAINT raw_k_fkey;
		ALTER TABLE raw ADD FOREIGN KEY (k) REFERENCES dim ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED});
	refresh($rollup);
	writes('ON DELETE CASCADE, at the end of the transaction', q{
		BEGIN; DELETE FROM dim WHERE k = 'c'; SET CONSTRAINTS ALL IMMEDIATE; COMMIT});
	writes('and by the commit itself', q{DELETE FROM dim WHERE k = 'd'});
};

subtest 'cursors' => sub {
	my $cursor = q{DECLARE c CURSOR FOR SELECT * FROM raw WHERE at >= '2025-01-15 00:00+00' ORDER BY id, at FOR UPDATE};

	writes('UPDATE WHERE CURRENT OF', qq{
		BEGIN; $cursor; MOVE 3 FROM c; UPDATE raw SET v = -1 WHERE CURRENT OF c; COMMIT});
	writes('DELETE WHERE CURRENT OF', qq{
		BEGIN; $cursor; MOVE 4 FROM c; DELETE FROM raw WHERE CURRENT OF c; COMMIT});
};

subtest 'triggers, rules and views' => sub {
	$session->query_safe(q{
		CREATE TABLE inbox (at timestamptz, k text, v bigint);
		CREATE FUNCTION pass_on() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO raw (at, k, v) VALUES (NEW.at, NEW.k, NEW.v);
			RETURN NULL;
		END $$;
		CREATE TRIGGER pass_on AFTER INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION pass_on();
		CREATE VIEW plain_view AS SELECT id, at, k, v FROM raw WHERE v < 1000000;
		CREATE VIEW joined_view AS SELECT at, k, v, active FROM raw JOIN dim USING (k);
		CREATE TRIGGER pass_on INSTEAD OF INSERT ON joined_view FOR EACH ROW EXECUTE FUNCTION pass_on();
		CREATE TABLE ruled (at timestamptz, v bigint);
		CREATE RULE r AS ON INSERT TO ruled DO INSTEAD INSERT INTO raw (at, k, v) VALUES (NEW.at, 'e', NEW.v)});
	writes('a trigger of another table', q{INSERT INTO inbox VALUES ('2025-01-16 00:30+00', 'a', 1)});
	writes('INSTEAD OF', q{INSERT INTO joined_view VALUES ('2025-01-16 01:30+00', 'a', 1, true)});
	writes('a rule', q{INSERT INTO ruled SELECT '2025-01-16 02:30+00', i FROM generate_series(1, 5) AS i});
	writes('a view: INSERT', q{INSERT INTO plain_view (at, k, v) VALUES ('2025-01-16 03:30+00', 'a', 1)});
	writes('a view: UPDATE', q{
		UPDATE plain_view SET v = v + 1 WHERE at >= '2025-01-17 00:00+00' AND at < '2025-01-17 09:00+00'});
	writes('a view: DELETE', q{DELETE FROM plain_view WHERE at >= '2025-01-17 09:00+00' AND at < '2025-01-17 12:00+00'});

	$session->query_safe(q{
		CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.note = 'later' THEN NEW.at := NEW.at + interval '3 hours'; END IF;
			IF NEW.note = 'more' THEN NEW.v := NEW.v + 1; END IF;
			IF NEW.note = 'none' THEN RETURN NULL; END IF;
			RETURN NEW;
		END $$;
		CREATE TRIGGER meddle BEFORE INSERT OR UPDATE ON jan FOR EACH ROW EXECUTE FUNCTION meddle()});
	refresh($rollup);
	writes('a BEFORE trigger that changes a time no statement mentions', q{
		UPDATE raw SET note = 'later' WHERE at >= '2025-01-18 00:00+00' AND at < '2025-01-18 05:00+00'});
	writes('or a measure', q{
		UPDATE raw SET note = 'more' WHERE at >= '2025-01-19 00:00+00' AND at < '2025-01-19 05:00+00'});
	$session->query_safe(q{
		UPDATE raw SET note = 'none' WHERE at >= '2025-01-19 00:00+00' AND at < '2025-01-19 05:00+00';
		UPDATE raw SET note = 'read by nobody' WHERE at >= '2025-01-20 00:00+00' AND at < '2025-01-20 05:00+00'});
	is_state($rollup, '0 wrong, clean, ok', 'updates that come to nothing are not noted');
	$session->query_safe('DROP TRIGGER meddle ON jan');
};

subtest 'subtransactions' => sub {
	writes('a caught error', q{
		DO $$ BEGIN
			BEGIN
				INSERT INTO raw (at, k, v) VALUES ('2025-01-21 00:30+00', 'a', 1);
				UPDATE raw SET v = 0 WHERE at < '2025-02-01 00:00+00';
				DELETE FROM raw;
				PERFORM 1 / 0;
			EXCEPTION WHEN division_by_zero THEN
				INSERT INTO raw (at, k, v) VALUES ('2025-01-21 01:30+00', 'a', 1);
			END;
		END $$});
	writes('savepoints 100 deep, the middle rolled back', 'BEGIN; '
		  . (join ' ', map {
				"SAVEPOINT s$_; INSERT INTO raw (at, k, v)"
				  . " VALUES ('2025-01-22 00:00+00'::timestamptz + interval '$_ minutes', 'a', $_);"
			} 1 .. 100)
		  . ' ROLLBACK TO s50; UPDATE raw SET v = 7 WHERE at = (SELECT min(at) FROM raw); COMMIT');
	writes('10,000 subtransactions', q{
		DO $$ BEGIN
			FOR i IN 1 .. 10000 LOOP
				BEGIN
					INSERT INTO raw (at, k, v) VALUES ('2025-01-23 00:00+00'::timestamptz + i * interval '1 minute', 'e', i);
					IF i % 3 = 0 THEN RAISE EXCEPTION SQLSTATE 'U0001'; END IF;
				EXCEPTION WHEN SQLSTATE 'U0001' THEN NULL;
				END;
			END LOOP;
		END $$});
	writes('a procedure that commits and rolls back', q{
		DO $$ BEGIN
			FOR i IN 1 .. 9 LOOP
				INSERT INTO raw (at, k, v) VALUES ('2025-02-03 00:00+00'::timestamptz + i * interval '1 hour', 'e', i);
				IF i % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
			END LOOP;
		END $$});
};

subtest 'other servers' => sub {
	my $connection = 'host=' . $node->host . ' port=' . $node->port . ' dbname=postgres';
	my ($host, $port) = ($node->host, $node->port);

	plan skip_all => 'dblink and postgres_fdw are not installed'
	  if $session->query_safe(q{SELECT count(*) FROM pg_available_extensions
			WHERE name IN ('dblink', 'postgres_fdw')}) < 2;
	$session->query_safe(qq{
		CREATE EXTENSION dblink;
		CREATE EXTENSION postgres_fdw;
		CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres');
		CREATE USER MAPPING FOR CURRENT_USER SERVER loop;
		CREATE FOREIGN TABLE far (at timestamptz, k text, v bigint) SERVER loop OPTIONS (table_name 'raw')});
	writes('dblink', qq{SELECT dblink_exec('$connection',
		\$\$INSERT INTO raw (at, k, v) VALUES ('2025-01-24 00:30+00', 'a', 1)\$\$)});
	writes('postgres_fdw: INSERT', q{
		INSERT INTO far SELECT '2025-01-24 02:30+00', 'a', i FROM generate_series(1, 9) AS i});
	writes('postgres_fdw: UPDATE', q{UPDATE far SET v = v + 1 WHERE at < '2025-01-10 00:00+00'});
	writes('postgres_fdw: DELETE', q{DELETE FROM far WHERE at >= '2025-01-25 00:00+00' AND at < '2025-01-26 00:00+00'});
};

leave($rollup);
close_session($session);
unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/, 'no process was killed');
$node->stop;
done_testing();
