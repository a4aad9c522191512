# Without shared_preload_libraries a session loads the library when it first
# writes to a source, or reads a live view; and it may be older than the
# extension.  All that is written is noted, and live views are right.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Utils;
use RollupTest;
use Test::More;

my $node = new_node('rollup_not_preloaded', conf => "shared_preload_libraries = ''\n");
$node->start;

my $FILL = q{SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '37 minutes', chr(97 + i % 3), i
	FROM generate_series(0, 500) AS i};
my %statements = (
	insert => q{INSERT INTO raw VALUES ('2025-01-03 10:30+00', 'late', 1)},
	update => q{UPDATE raw SET v = v + 1 WHERE at < '2025-01-02 00:00+00'},
	move => q{UPDATE raw SET at = at + interval '1 day' WHERE at = (SELECT min(at) FROM raw)},
	'no delete' => q{DELETE FROM raw WHERE false},
	delete => q{DELETE FROM raw WHERE at = (SELECT max(at) FROM raw WHERE at < '2026-01-01 00:00+00')});

$node->safe_psql('postgres', qq{
	CREATE TABLE raw (at timestamptz NOT NULL, k text, v bigint);
	CREATE INDEX ON raw (at);
	INSERT INTO raw $FILL;
	CREATE FUNCTION loaded() RETURNS boolean LANGUAGE sql AS
	\$\$ SELECT current_setting('aggjobs.max_sources', true) IS NOT NULL \$\$});

# Sessions from before the extension, with plans that know nothing of it.
sub early_session
{
	my $session = open_session($node);

	for my $name (sort keys %statements)
	{
		my $prepared = $name =~ s/ /_/r;
		$session->query_safe("PREPARE $prepared AS $statements{$name}");
		$session->query_safe("BEGIN; EXECUTE $prepared; ROLLBACK") for 1 .. 2;
	}
	return $session;
}

my %early = map { $_ => early_session() } 'insert', 'update', 'move', 'delete', 'truncate', 'subtransaction', 'reader';
my $snapshot = open_session($node);
$snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_type');

$node->safe_psql('postgres', 'SET client_min_messages = error; CREATE EXTENSION pg_aggjobs');
my $rollup = make_rollup($node, 'by_hour', by_hour('raw'));

subtest 'a refresh' => sub {
	is_state($rollup, '0 wrong, clean, ok', 'has worked in this session');
	is_fresh($rollup, 'and works again');
	is($node->safe_psql('postgres', 'SELECT loaded()'), 'f', 'a new session has no library');
	is($node->safe_psql('postgres', state_sql($rollup)), '0 wrong, clean, ok', 'and reads the live view');
};

# What was written is noted, and a session without the library sees it.
sub noted
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($node->safe_psql('postgres', state_sql($rollup)), '0 wrong, stale, ok', "$what: noted");
	is_fresh($rollup, $what);
	return;
}

subtest 'sessions from before the extension' => sub {
	for my $name ('insert', 'update', 'move', 'delete')
	{
		is($early{$name}->query_safe('SELECT loaded()'), 'f', "$name: without the library");
		$early{$name}->query_safe("EXECUTE $name");
		noted($name);
		$early{$name}->query_safe("EXECUTE $name");
		noted("$name again");
	}
	$snapshot->query_safe($statements{insert});
	is($node->safe_psql('postgres', state_sql($rollup)), '0 wrong, clean, ok', 'a snapshot from before: not yet');
	$snapshot->query_safe('COMMIT');
	noted('a snapshot from before');
	is($early{reader}->query_safe(state_sql($rollup)), '0 wrong, clean, ok', 'a reader');
	$early{subtransaction}->query_safe(
		'BEGIN; SAVEPOINT s; EXECUTE insert; SAVEPOINT t; EXECUTE delete; ROLLBACK TO t; COMMIT');
	noted('loaded in a subtransaction');
	$early{truncate}->query_safe('TRUNCATE raw');
	noted('TRUNCATE');
};

subtest 'new sessions' => sub {
	$node->safe_psql('postgres', "INSERT INTO raw $FILL");
	noted('INSERT');
	for my $what ('insert', 'update', 'move', 'delete')
	{
		$node->safe_psql('postgres', $statements{$what});
		noted($what);
		$node->safe_psql('postgres', "LOAD 'pg_aggjobs'; $statements{$what}");
		noted("$what after LOAD");
	}
	$node->safe_psql('postgres', "SELECT count(*) FROM by_hour_live; $statements{insert}");
	noted('a writer that has read');
	is( $node->safe_psql('postgres',
			"BEGIN; $statements{delete}; $statements{insert}; @{[ state_sql($rollup) ]}; COMMIT"),
		'0 wrong, clean, ok', 'what a session itself has written');
	noted('a session that has read what it wrote');
	$node->safe_psql('postgres', q{INSERT INTO raw VALUES (now(), 'present', 1)});
	noted('the present');
	$node->safe_psql('postgres', "BEGIN; $statements{insert}; PREPARE TRANSACTION 'p'");
	is_fresh($rollup, 'while one is prepared');
	$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
	noted('COMMIT PREPARED by a session without the library');
	$node->safe_psql('postgres', 'BEGIN; TRUNCATE raw; ROLLBACK');
	is_state($rollup, '0 wrong, clean, ok', 'TRUNCATE that is rolled back');
	$node->safe_psql('postgres', 'ALTER TABLE raw ADD r float8 DEFAULT random()');
	noted('a rewrite');
	$node->safe_psql('postgres', 'ALTER TABLE raw DISABLE TRIGGER aggjobs_capture_update');
	is($node->safe_psql('postgres', state_sql($rollup)),
		'0 wrong, stale, problem, failing', 'a trigger that is disabled');
	is_fresh($rollup, 'a trigger that is disabled');
};

subtest 'preloaded from now on' => sub {
	$node->safe_psql('postgres', $statements{insert});
	leave($rollup);
	close_session($_) for $snapshot, values %early;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_aggjobs'");
	$node->restart;
	look_at($rollup, $node);
	noted('what was written before');
	$node->safe_psql('postgres', q{INSERT INTO raw VALUES (now() + interval '1 minute', 'present', 1)});
	is_state($rollup, '0 wrong, clean, ok', 'the present is not noted any more');
	$node->safe_psql('postgres', $statements{insert});
	noted('a late row');
};

subtest 'preloaded no more' => sub {
	leave($rollup);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$node->restart;
	$node->safe_psql('postgres', $statements{insert});
	look_at($rollup, $node);
	noted('a late row');
	leave($rollup);
};

unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/, 'no process was killed');
$node->stop;
done_testing();
