# Late rows are noted with their places, so that only their keys are computed.
# Where the rows have moved since, or there are too many, whole buckets are; and
# in every case the result is right.
#
# Which of the two it was shows at a figure of another key of the same bucket
# that the test has spoilt by hand: only who computes the bucket puts it right.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Utils;
use RollupTest;
use Test::More;

my $node = start_node('rollup_late_rows');
my $session = open_session($node);

# An index on note, so that an update of it gives the row a new place in it.
$session->query_safe(q{
	CREATE TABLE raw (at timestamptz NOT NULL, k text, v bigint, note text, more text)
		PARTITION BY RANGE (at);
	CREATE TABLE jan PARTITION OF raw FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-02-01 00:00+00');
	CREATE TABLE rest PARTITION OF raw DEFAULT;
	CREATE INDEX raw_at ON raw (at);
	CREATE INDEX ON raw (note);
	INSERT INTO raw SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '37 minutes', chr(97 + i % 3), i
	FROM generate_series(0, 1500) AS i});
my $rollup = make_rollup($node, 'by_hour', by_hour('raw'));

# late("10:05", n): n rows in one hour, from then on a second apart.
sub late
{
	my ($time, $n, $key) = @_;
	return "INSERT INTO raw SELECT '2025-01-10 $time+00'::timestamptz + (i - 1) * interval '1 second', '"
	  . ($key // 'late') . "', i FROM generate_series(1, " . ($n // 1) . ') AS i';
}

my $spoilt = q{key = 'a' AND bucket = '2025-01-10 10:00+00'};

$session->query_safe(q{INSERT INTO raw VALUES ('2025-01-10 10:00+00', 'a', 1)});
refresh($rollup);

# Write, refresh, and see by what was computed.
sub computed_by
{
	my ($by, $what, $sql) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$session->query_safe($sql);
	is_noted($rollup, $what);
	$session->query_safe("UPDATE by_hour SET total = -1 WHERE $spoilt");
	refresh($rollup);
	is($session->query_safe("SELECT total = -1 FROM by_hour WHERE $spoilt"),
		$by eq 'key' ? 't' : 'f', "$what: computed by $by");
	$session->query_safe(
		q{CALL aggjobs_refresh('by_hour', '2025-01-10 10:00+00', '2025-01-10 11:00+00')})
	  if $by eq 'key';
	is_fresh($rollup, $what);
	return;
}

subtest 'by key' => sub {
	my $file = PostgreSQL::Test::Utils::tempdir() . '/rows';

	computed_by('key', 'one row', late('10:05'));
	computed_by('key', 'a key that was not there', late('10:05', 1, 'new'));
	computed_by('key', 'a key that is NULL', q{INSERT INTO raw VALUES ('2025-01-10 10:05+00', NULL, 1)});
	computed_by('key', 'as many as a minute may have', late('10:05', 60));
	computed_by('key', 'several transactions', late('10:05') . '; ' . late('10:06', 2) . '; ' . late('11:05'));
	computed_by('key', 'COPY', qq{
		COPY (SELECT '2025-01-10 10:07+00', 'late', 1) TO '$file'; COPY raw (at, k, v) FROM '$file'});
	computed_by('key', 'VACUUM (FREEZE) in between', late('10:08') . '; VACUUM (FREEZE) raw');
	computed_by('key', 'a row of another transaction gone in between',
		late('10:09') . q{; DELETE FROM raw WHERE at >= '2025-01-12 00:00+00' AND at < '2025-01-12 05:00+00'; VACUUM raw});
	computed_by('key', 'another row changed in between', late('10:09')
		  . q{; UPDATE raw SET note = 'x', more = 'y' WHERE at >= '2025-01-13 00:00+00'});
	computed_by('key', 'after the detour of ROLLBACK', 'BEGIN; ' . late('10:10', 3) . '; ROLLBACK; ' . late('10:10'));
	computed_by('key', 'a session that writes on as a replica',
		'SET session_replication_role = replica; ' . late('10:10') . '; RESET session_replication_role');
};

subtest 'by bucket' => sub {
	my $row = q{at = '2025-01-10 10:15+00' AND k = 'late'};

	computed_by('bucket', 'more than a minute may have', late('10:15:00', 1)
		  . '; INSERT INTO raw SELECT \'2025-01-10 10:20+00\', \'late\', i FROM generate_series(1, 65) AS i');
	computed_by('bucket', 'in a savepoint', 'BEGIN; SAVEPOINT s; ' . late('10:15') . '; COMMIT');
	computed_by('bucket', 'rolled back to a savepoint',
		'BEGIN; ' . late('10:15') . '; SAVEPOINT s; ' . late('10:16', 2) . '; ROLLBACK TO s; COMMIT');
	computed_by('bucket', 'changed by the same transaction',
		'BEGIN; ' . late('10:15') . "; UPDATE raw SET v = v + 1 WHERE $row; COMMIT");
	computed_by('bucket', 'changed by another', late('10:15') . "; UPDATE raw SET v = v + 1 WHERE $row");
	computed_by('bucket', 'deleted by another', late('10:15') . "; DELETE FROM raw WHERE $row");
	computed_by('bucket', 'moved within its page, nothing read has changed',
		late('10:15') . "; UPDATE raw SET more = 'x' WHERE $row");
	computed_by('bucket', 'moved elsewhere', late('10:15') . "; UPDATE raw SET note = 'x' WHERE $row");
	computed_by('bucket', 'moved, and its place free',
		late('10:15') . "; UPDATE raw SET note = 'y' WHERE $row; VACUUM raw");
	computed_by('bucket', 'moved to another hour', late('10:15')
		  . "; UPDATE raw SET at = at + interval '1 day' WHERE $row");
	computed_by('bucket', 'moved to another partition', late('10:15')
		  . "; UPDATE raw SET at = at + interval '40 days' WHERE $row");
	computed_by('bucket', 'VACUUM FULL', late('10:15') . '; VACUUM FULL raw');
	computed_by('bucket', 'CLUSTER', late('10:15') . '; CLUSTER jan USING jan_at_idx');
	computed_by('bucket', 'a rewrite', late('10:15') . '; ALTER TABLE raw ADD r float8 DEFAULT random()');
	computed_by('bucket', 'TRUNCATE', late('10:15')
		  . q{; CREATE TEMP TABLE kept AS TABLE jan; TRUNCATE jan; INSERT INTO raw TABLE kept; DROP TABLE kept});
	computed_by('bucket', 'the partition away and back', late('10:15') . q{;
		ALTER TABLE raw DETACH PARTITION jan; } . (late('10:16') =~ s/INTO raw/INTO jan (at, k, v)/r) . q{;
		ALTER TABLE raw ATTACH PARTITION jan FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-02-01 00:00+00')});
	computed_by('bucket', 'prepared, with what else it wrote', 'BEGIN; ' . late('10:15')
		  . q{; UPDATE raw SET v = 0 WHERE at = '2025-01-10 10:00+00' AND k = 'a';
		PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'});
};

# The one place of a late row, given to a row of another late transaction.
subtest 'a place that is given to another row' => sub {
	for my $to ([ 'the same minute', '10:15' ], [ 'the same hour', '10:45' ], [ 'another hour', '12:45' ])
	{
		my ($what, $time) = @$to;

		# A page of its own, so that the next row takes the place that is free.
		$session->query_safe('VACUUM FULL raw; ' . late('10:15', 1, 'here'));
		my $place = $session->query_safe(q{SELECT ctid FROM raw WHERE k = 'here' ORDER BY v DESC, ctid DESC LIMIT 1});
		$session->query_safe(qq{UPDATE raw SET note = 'moved' WHERE ctid = '$place' AND tableoid = 'jan'::regclass;
			VACUUM (INDEX_CLEANUP on) raw});
		$session->query_safe(late($time, 1, 'there'));
		is($session->query_safe(qq{SELECT k FROM jan WHERE ctid = '$place'}), 'there', "$what: it takes the place");
		is_noted($rollup, $what);
		is_fresh($rollup, $what);
		$session->query_safe(q{DELETE FROM raw WHERE k IN ('here', 'there')});
		is_fresh($rollup, "$what: cleared");
	}
};

leave($rollup);
close_session($session);
unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/, 'no process was killed');
$node->stop;
done_testing();
