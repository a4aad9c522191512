# Whatever is done to the definition of a source, live views stay right: after
# the statement, after writes that follow in a session which has known the table
# all along, and after the next refresh.  Where capture was disturbed, the rollup
# says so until it is mended.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Utils;
use RollupTest;
use Test::More;

my $node = start_node('rollup_ddl');

# What is not said otherwise is done here.
my $ddl = open_session($node);

sub sql
{
	my ($sql) = @_;
	return $ddl->query_safe($sql);
}

# A session from before all that happens here, with everything in its caches.
my $old = open_session($node);

# Writes of each kind below the horizon, at the places that a test may move.
my %raw = (table => 'raw', at => 'at', k => 'k', v => 'v');
my $nth = 0;

sub writes
{
	my ($t, $at, $k, $v) = map { $raw{$_} } qw(table at k v);
	my $i = ++$nth;

	return qq{
		INSERT INTO $t ($at, $k, $v) VALUES ('2025-02-03 04:05+00', 'n', $i), ('2025-01-03 04:05+00', 'n', $i);
		UPDATE $t SET $v = $v + 1 WHERE $at >= '2025-01-05 00:00+00' AND $at < '2025-01-05 02:00+00';
		UPDATE $t SET $at = $at + interval '31 days'
		WHERE $at = (SELECT min($at) FROM $t WHERE $at >= '2025-01-07 00:00+00');
		DELETE FROM $t WHERE $at = (SELECT min($at) FROM $t WHERE $at >= '2025-02-07 00:00+00')};
}

my $FILL = q{SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '37 minutes', chr(97 + i % 3), i
	FROM generate_series(0, 2000) AS i};

my $rollup;

sub follow
{
	my (%changed) = @_;
	@raw{ keys %changed } = values %changed;
	$rollup->{query} = by_hour($raw{table}, %raw);
	return;
}

# One statement, and what the rollup has to say to it before anything is
# written: "clean", "stale" or "problem"; names: what is called otherwise now;
# undo: what lets the next refresh succeed; twice: it needs two.
sub ddl
{
	my ($expected, $statement, %more) = @_;
	my %state = (
		clean => '0 wrong, clean, ok',
		stale => '0 wrong, stale, ok',
		problem => '0 wrong, stale, problem, failing');
	my $what = $more{what} // $statement =~ s/\s+/ /gr;
	my $broken = $expected eq 'problem' ? 'problem' : 'stale';
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	sql($statement);
	follow(%{ $more{names} // {} });
	is_state($rollup, $state{$expected}, $what);
	is($old->query_safe(writes() . ";\n" . state_sql($rollup)), $state{$broken}, "$what: then writes");
	if ($more{undo})
	{
		my ($code, $err) = sqlstate_of($node, 'postgres', "CALL aggjobs_refresh('$rollup->{name}')");

		is($code, '55000', "$what: a refresh fails");
		like($err, qr/^HINT: .*[Pp]ut it right/m, "$what: and says why");
		is_state($rollup, $state{$broken}, "$what: and changes nothing");
		sql($more{undo});
	}
	# An index that is put back over empty partitions counts them as truncated.
	refresh($rollup) if $more{twice};
	is_fresh($rollup, $what);
	# Where all counted as changed, the writes above have shown nothing yet.
	write_ok($rollup, $old, "$what: writes after it", writes()) if $expected ne 'clean';
	return;
}

sub refused
{
	my ($statement, $code) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is((sqlstate_of($node, 'postgres', $statement))[0], $code // '2BP01', "refused: $statement");
	is_state($rollup, '0 wrong, clean, ok', 'and nothing has happened');
	return;
}

sub capture_index
{
	my ($table) = @_;
	return sql(qq{SELECT indexrelid::regclass FROM pg_index JOIN pg_class c ON c.oid = indexrelid
		JOIN pg_am a ON a.oid = c.relam WHERE amname = 'aggjobs' AND indrelid = '$table'::regclass});
}

$node->safe_psql('postgres', q{SET allow_in_place_tablespaces = on; CREATE TABLESPACE other LOCATION ''});
sql(qq{
	CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
	CREATE ROLE owner NOLOGIN;
	CREATE SCHEMA elsewhere;
	CREATE TABLE dim (k text PRIMARY KEY);
	INSERT INTO dim VALUES ('a'), ('b'), ('c'), ('n');
	CREATE TABLE raw (at timestamptz NOT NULL, k text NOT NULL, v bigint, note varchar, gone int);
	CREATE INDEX raw_at ON raw (at);
	INSERT INTO raw (at, k, v) $FILL});
$old->query_safe('SELECT count(*) FROM raw');

subtest 'a plain table' => sub {
	$rollup = make_rollup($node, 'plain', by_hour('raw'));
	my $index = capture_index('raw');

	ddl('clean', 'REINDEX TABLE raw');
	# The server hands every row to the new index.
	ddl('stale', "REINDEX INDEX CONCURRENTLY $index");
	ddl('clean', "ALTER INDEX $index RENAME TO renamed");
	ddl('clean', 'CLUSTER raw USING raw_at');
	ddl('clean', 'VACUUM (FULL, FREEZE) raw');
	ddl('clean', 'ALTER TABLE raw SET TABLESPACE other');
	ddl('clean', 'ALTER INDEX renamed SET TABLESPACE other');
	ddl('clean', 'ALTER TABLE raw RENAME TO rows', names => { table => 'rows' });
	ddl('clean', 'ALTER TABLE rows RENAME at TO "seen at"', names => { at => '"seen at"' });
	ddl('clean', 'ALTER TABLE rows RENAME v TO val', names => { v => 'val' });
	# The old names now mean something else.
	ddl('clean', 'ALTER TABLE rows ADD at timestamptz, ADD v bigint');
	ddl('clean', 'ALTER TABLE rows SET SCHEMA elsewhere', names => { table => 'elsewhere.rows' });
	ddl('clean', 'ALTER SCHEMA elsewhere RENAME TO here', names => { table => 'here.rows' });
	ddl('clean', 'ALTER TABLE here.rows DROP at, DROP v, DROP gone');
	ddl('clean', 'ALTER TABLE here.rows ADD FOREIGN KEY (k) REFERENCES dim ON DELETE CASCADE');
	ddl('clean', 'ALTER TABLE here.rows OWNER TO owner');
	ddl('clean', 'REASSIGN OWNED BY owner TO CURRENT_USER');
	ddl('clean', 'ALTER TABLE here.rows ENABLE ROW LEVEL SECURITY');
	ddl('clean', 'ALTER TABLE here.rows ALTER note SET DEFAULT 1, ALTER val SET STATISTICS 10');
	ddl('stale', q{ALTER TABLE here.rows ADD drawn float8 DEFAULT random()});
	ddl('stale', 'ALTER TABLE here.rows ALTER note TYPE int USING length(note)');
	ddl('stale', 'ALTER TABLE here.rows SET ACCESS METHOD heap_too');
	ddl('problem', 'ALTER TABLE here.rows DISABLE TRIGGER aggjobs_capture_delete');
	ddl('problem', 'ALTER TABLE here.rows DISABLE TRIGGER ALL');
	ddl('problem', 'ALTER TABLE here.rows DISABLE TRIGGER USER; ALTER TABLE here.rows ENABLE TRIGGER USER');
	ddl('problem', 'ALTER TABLE here.rows ENABLE REPLICA TRIGGER aggjobs_capture_update');
	ddl('stale', q{ALTER TABLE here.rows DISABLE TRIGGER aggjobs_capture_update;
		UPDATE here.rows SET val = val + 1 WHERE "seen at" > '2025-02-10 00:00+00';
		ALTER TABLE here.rows ENABLE ALWAYS TRIGGER aggjobs_capture_update});
	ddl('problem', 'ALTER TRIGGER aggjobs_capture_update ON here.rows RENAME TO mine');
	ddl('problem', 'DROP TRIGGER aggjobs_capture_delete ON here.rows CASCADE');
	ddl('problem', 'DROP INDEX ' . capture_index('here.rows') . ' CASCADE');
	ddl('problem', 'ALTER TABLE here.rows SET UNLOGGED', undo => 'ALTER TABLE here.rows SET LOGGED');
	ddl('problem', 'ALTER TABLE here.rows FORCE ROW LEVEL SECURITY',
		undo => 'ALTER TABLE here.rows NO FORCE ROW LEVEL SECURITY');
	ddl('problem', q{CREATE TABLE child () INHERITS (here.rows);
		INSERT INTO child ("seen at", k, val) VALUES ('2025-01-09 12:00+00', 'a', 5)},
		undo => 'ALTER TABLE child NO INHERIT here.rows');
	ddl('problem', q{ALTER TABLE child INHERIT here.rows}, undo => 'DROP TABLE child');

	refused('DROP INDEX ' . capture_index('here.rows'));
	refused('DROP TRIGGER aggjobs_capture_update ON here.rows');
	refused('ALTER TABLE here.rows ALTER "seen at" TYPE timestamp', '0A000');
	refused('ALTER TABLE here.rows ALTER val TYPE numeric', '0A000');
	refused('ALTER TABLE here.rows ALTER "seen at" DROP NOT NULL');
	refused('ALTER TABLE here.rows DROP val');
	refused('ALTER TABLE here.rows DROP "seen at"');
	refused('DROP TABLE here.rows');
	refused('DROP EXTENSION pg_aggjobs');
};

subtest 'TRUNCATE and session_replication_role' => sub {
	my $t = $raw{table};

	ddl('stale', qq{SET session_replication_role = replica;
		INSERT INTO $t ("seen at", k, val) VALUES ('2025-01-20 20:00+00', 'a', 1);
		UPDATE $t SET val = 7 WHERE "seen at" < '2025-01-02 02:00+00';
		DELETE FROM $t WHERE "seen at" >= '2025-01-31 00:00+00' AND "seen at" < '2025-01-31 05:00+00';
		RESET session_replication_role},
		what => 'writes as a replica');
	for my $truncate ("TRUNCATE $t", 'TRUNCATE dim CASCADE', "TRUNCATE $t CASCADE",
		"DELETE FROM $t; VACUUM (TRUNCATE) $t",
		"SET session_replication_role = replica; TRUNCATE $t; RESET session_replication_role")
	{
		sql(q{INSERT INTO dim VALUES ('a'), ('b'), ('c'), ('n') ON CONFLICT DO NOTHING});
		sql(qq{INSERT INTO $t ("seen at", k, val) $FILL});
		refresh($rollup);
		sql($truncate);
		is_state($rollup, '0 wrong, stale, ok', $truncate);
		is_fresh($rollup, $truncate);
		is(sql('SELECT count(*) FROM plain'), 0, "$truncate: nothing is left");
	}
	sql("TRUNCATE $t");
	refresh($rollup);
	sql(q{INSERT INTO dim VALUES ('a'), ('b'), ('c'), ('n') ON CONFLICT DO NOTHING});
	write_ok($rollup, $ddl, 'TRUNCATE and INSERT in one transaction', qq{
		INSERT INTO $t ("seen at", k, val) $FILL;
		BEGIN; TRUNCATE $t; INSERT INTO $t ("seen at", k, val) VALUES ('2025-01-01 12:00+00', 'a', 1); COMMIT});
	sql("BEGIN; TRUNCATE $t; ROLLBACK");
	is_state($rollup, '0 wrong, clean, ok', 'TRUNCATE that is rolled back');
	write_ok($rollup, $ddl, 'TRUNCATE rolled back to a savepoint', qq{
		BEGIN; SAVEPOINT s; TRUNCATE $t; ROLLBACK TO s;
		UPDATE $t SET val = 2; COMMIT});
};

subtest 'a column or a table that is dropped with CASCADE' => sub {
	sql(q{ALTER TABLE here.rows DROP val CASCADE});
	is(sql(q{SELECT count(*) FROM aggjobs.rollups WHERE rollup_name = 'plain'}),
		0, 'takes the rollup with it');
	sql(q{INSERT INTO here.rows ("seen at", k) VALUES ('2025-01-01 00:00+00', 'a');
		UPDATE here.rows SET "seen at" = '2025-01-01 00:10+00'; DELETE FROM here.rows});
	is(sql('SELECT count(*) FROM here.rows'), 0, 'the source can be written');

	leave($rollup);
	sql('CREATE TABLE second (at timestamptz NOT NULL, k text, v bigint)');
	leave(make_rollup($node, 'seconds', by_hour('second')));
	sql('DROP TABLE second CASCADE');
	is(sql(q{SELECT count(*) FROM aggjobs.rollups WHERE rollup_name = 'seconds'}),
		0, 'so does a table');
	is(sql(q{SELECT state FROM aggjobs.health WHERE check_name = 'capture'}), 'ok', 'all is well');
};

subtest 'partitions' => sub {
	%raw = (table => 'parts', at => 'at', k => 'k', v => 'v');
	sql(qq{
		CREATE TABLE parts (at timestamptz NOT NULL, k text NOT NULL, v bigint, note varchar, gone int)
			PARTITION BY RANGE (at);
		CREATE TABLE jan PARTITION OF parts FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-02-01 00:00+00');
		CREATE TABLE feb PARTITION OF parts FOR VALUES FROM ('2025-02-01 00:00+00') TO ('2025-03-01 00:00+00')
			PARTITION BY LIST (k);
		CREATE TABLE feb_a PARTITION OF feb FOR VALUES IN ('a', 'b');
		CREATE TABLE feb_rest PARTITION OF feb DEFAULT;
		CREATE INDEX parts_at ON parts (at);
		INSERT INTO parts (at, k, v) $FILL});
	$rollup = make_rollup($node, 'by_part', by_hour('parts'));

	ddl('clean', 'REINDEX TABLE parts');
	ddl('stale', 'REINDEX TABLE CONCURRENTLY jan');
	ddl('clean', 'CLUSTER jan USING jan_at_idx');
	ddl('clean', 'VACUUM FULL parts');
	ddl('clean', 'ALTER TABLE feb_a SET TABLESPACE other');
	ddl('clean', 'ALTER TABLE jan RENAME TO january');
	ddl('clean', 'ALTER TABLE parts RENAME TO pieces', names => { table => 'pieces' });
	ddl('clean', 'ALTER TABLE pieces DROP gone');
	ddl('stale', 'ALTER TABLE pieces ADD drawn float8 DEFAULT random()');
	ddl('stale', 'ALTER TABLE pieces ALTER note TYPE int USING length(note)');
	ddl('stale', 'ALTER TABLE feb_a SET ACCESS METHOD heap_too');
	ddl('stale', q{CREATE TABLE mar PARTITION OF pieces
		FOR VALUES FROM ('2025-03-01 00:00+00') TO ('2025-04-01 00:00+00')});
	ddl('stale', q{CREATE TABLE apr PARTITION OF pieces
		FOR VALUES FROM ('2025-04-01 00:00+00') TO ('2025-05-01 00:00+00') PARTITION BY RANGE (at);
		CREATE TABLE apr_1 PARTITION OF apr
		FOR VALUES FROM ('2025-04-01 00:00+00') TO ('2025-04-02 00:00+00')});
	ddl('stale', q{
		CREATE TABLE apr_2 (LIKE pieces INCLUDING ALL EXCLUDING INDEXES);
		INSERT INTO apr_2 (at, k, v) SELECT '2025-04-02 00:00+00'::timestamptz + i * interval '1 minute', 'a', i
		FROM generate_series(0, 600) AS i;
		ALTER TABLE apr ATTACH PARTITION apr_2
		FOR VALUES FROM ('2025-04-02 00:00+00') TO ('2025-04-03 00:00+00')});
	ddl('stale', 'ALTER TABLE apr DETACH PARTITION apr_2');
	ddl('stale', q{INSERT INTO apr_2 (at, k, v) VALUES ('2025-04-02 23:00+00', 'z', 1);
		UPDATE apr_2 SET v = v + 1; DELETE FROM apr_2 WHERE v < 100;
		ALTER TABLE apr ATTACH PARTITION apr_2
		FOR VALUES FROM ('2025-04-02 00:00+00') TO ('2025-04-03 00:00+00')});
	ddl('stale', 'ALTER TABLE pieces DETACH PARTITION apr');
	ddl('stale', q{INSERT INTO apr (at, k, v) VALUES ('2025-04-01 23:00+00', 'z', 1);
		ALTER TABLE pieces ATTACH PARTITION apr
		FOR VALUES FROM ('2025-04-01 00:00+00') TO ('2025-05-01 00:00+00')});
	ddl('stale', 'ALTER TABLE pieces DETACH PARTITION apr CONCURRENTLY');
	ddl('stale', q{ALTER TABLE pieces ATTACH PARTITION apr
		FOR VALUES FROM ('2025-04-01 00:00+00') TO ('2025-05-01 00:00+00')});
	ddl('stale', 'DROP TABLE apr_2');
	ddl('stale', 'TRUNCATE apr');
	ddl('stale', 'TRUNCATE january');
	ddl('stale', 'TRUNCATE feb_rest');
	ddl('stale', 'DROP TABLE apr');
	ddl('stale', 'CREATE TABLE others PARTITION OF pieces DEFAULT');
	ddl('stale', q{INSERT INTO pieces (at, k, v) VALUES ('2020-01-01 00:30+00', 'a', 1)});
	ddl('stale', 'TRUNCATE pieces');
	sql(qq{INSERT INTO pieces (at, k, v) $FILL});
	refresh($rollup);
	ddl('problem', 'ALTER TABLE january DISABLE TRIGGER aggjobs_capture_update');
	ddl('problem', 'ALTER TABLE feb_a DISABLE TRIGGER ALL');
	ddl('problem', 'ALTER TABLE pieces DISABLE TRIGGER aggjobs_capture_delete');
	ddl('problem', 'DROP TRIGGER aggjobs_capture_update ON pieces CASCADE');
	ddl('problem', 'DROP INDEX ' . capture_index('pieces') . ' CASCADE', twice => 1);
	ddl('problem', 'ALTER TABLE january SET UNLOGGED', undo => 'ALTER TABLE january SET LOGGED');
	refused('DROP INDEX ' . capture_index('january'));
	refused('DROP TRIGGER aggjobs_capture_update ON january');
};

# The index reads the numbers, and must not take them for something else.
subtest 'a time that is counted' => sub {
	my $millisecond = sub { "1000 * extract(epoch FROM '2025-01-0$_[0]'::timestamptz)::bigint" };

	leave($rollup);
	sql(qq{CREATE TABLE counted (at bigint NOT NULL, v bigint);
		INSERT INTO counted SELECT @{[ $millisecond->('1 00:00+00') ]} + i * 1000000, i FROM generate_series(1, 900) AS i});
	$rollup = follow_rollup($node, 'by_count',
		'SELECT aggjobs_bucket(3600000, at) AS bucket, count(*) AS n FROM counted GROUP BY 1');
	sql(qq{SELECT aggjobs_create_rollup('by_count', \$\$$rollup->{query}\$\$, schedule => NULL, epoch => 'millisecond')});
	is_fresh($rollup, 'at first');
	for my $change ("SET (epoch = 'nanosecond')", 'RESET (epoch)')
	{
		sql("ALTER INDEX counted_at_idx $change");
		$old->query_safe("INSERT INTO counted VALUES (@{[ $millisecond->('2 05:30+00') ]}, 1)");
		is_state($rollup, '0 wrong, stale, problem, failing', $change);
		is((sqlstate_of($node, 'postgres', q{CALL aggjobs_refresh('by_count')}))[0], '55000', "$change: a refresh fails");
		sql(q{ALTER INDEX counted_at_idx SET (epoch = 'millisecond')});
		is_fresh($rollup, "$change: undone");
		write_ok($rollup, $old, "$change: undone, written",
			"INSERT INTO counted VALUES (@{[ $millisecond->('3 05:30+00') ]}, 1)");
	}
};

subtest 'DROP EXTENSION CASCADE' => sub {
	leave($rollup);
	sql('DROP EXTENSION pg_aggjobs CASCADE');
	$old->query_safe(writes());
	sql(writes());
	is(sql(q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'aggjobs%'}), 0, 'no trigger is left');
	sql('TRUNCATE pieces');
	is($old->query_safe('SELECT count(*) FROM pieces'), 0, 'the source is a plain table');
	create_extension($node, 'postgres');
	sql(qq{DROP TABLE IF EXISTS by_part; INSERT INTO pieces (at, k, v) $FILL});
	$rollup = make_rollup($node, 'by_part', by_hour('pieces'));
	ddl('clean', 'SELECT 1', what => 'a rollup of the same source, by the extension made anew');
};

leave($rollup);
close_session($_) for $old, $ddl;
unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/, 'no process was killed');
$node->stop;
done_testing();
