# The source of a rollup that logical replication writes: all that is applied is
# captured, as if sessions had written it.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Utils;
use RollupTest;
use Test::More;

# Large transactions are streamed while they run.
my $node = new_node('rollup_replication', conf => <<'CONF');
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
logical_decoding_work_mem = '64kB'
CONF
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") for 'publisher', 'subscriber';
create_extension($node, 'subscriber');

my $from = open_session($node, 'publisher');
my $to = open_session($node, 'subscriber');

# The publisher's table is plain, the subscriber's partitioned.
$from->query_safe(q{
	CREATE TABLE raw (id bigserial, at timestamptz, k text, v bigint, note text, PRIMARY KEY (id, at));
	CREATE TABLE mark (n int PRIMARY KEY);
	CREATE TABLE keyless (at timestamptz NOT NULL, k text, v bigint);
	ALTER TABLE keyless REPLICA IDENTITY FULL;
	INSERT INTO raw (at, k, v) SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '37 minutes', chr(97 + i % 3), i
	FROM generate_series(0, 1500) AS i;
	INSERT INTO keyless SELECT at, k, v FROM raw WHERE v < 100;
	CREATE PUBLICATION rows FOR TABLE raw, keyless, mark});
$to->query_safe(q{
	CREATE TABLE raw (id bigint, at timestamptz, k text, v bigint, note text, PRIMARY KEY (id, at))
		PARTITION BY RANGE (at);
	CREATE TABLE jan PARTITION OF raw FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-02-01 00:00+00');
	CREATE TABLE rest PARTITION OF raw DEFAULT;
	CREATE INDEX ON raw (at);
	CREATE TABLE mark (n int PRIMARY KEY);
	CREATE TABLE keyless (at timestamptz NOT NULL, k text, v bigint)});
my $rollup = make_rollup($node, 'by_hour', by_hour('raw'), database => 'subscriber');
my $keyless = make_rollup($node, 'of_keyless', by_hour('keyless'), database => 'subscriber');

# Within one server the slot has to be there before the subscription.
$from->query_safe(q{SELECT pg_create_logical_replication_slot('sub', 'pgoutput')});
my $connection = $node->connstr . ' dbname=publisher';
$to->query_safe(qq{CREATE SUBSCRIPTION sub CONNECTION '$connection' PUBLICATION rows
	WITH (create_slot = false, slot_name = 'sub', streaming = on)});

subtest 'the initial copy' => sub {
	$node->wait_for_subscription_sync($node, 'sub', 'subscriber');
	is($to->query_safe('SELECT count(*) FROM raw'), 1501, 'is there');
	for my $r ($rollup, $keyless)
	{
		is_noted($r, $r->{name});
		is_fresh($r, $r->{name});
	}
};

my $CONTENT = q{SELECT count(*), sum(v), sum(extract(epoch FROM at)), count(DISTINCT k)
	FROM (TABLE keyless UNION ALL SELECT at, k, v FROM raw) AS r};

# Wait until the subscriber has all that the publisher has written so far.
my $marks = 0;

sub wait_until_applied
{
	my $n = ++$marks;

	$node->safe_psql('publisher', "INSERT INTO mark VALUES ($n)");
	wait_for($node, 'subscriber', "SELECT EXISTS (SELECT FROM mark WHERE n = $n)");
	return;
}

# Written by the publisher, seen by the subscriber.
sub applied
{
	my ($seen_by, $what, $sql) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$from->query_safe($sql);
	wait_until_applied();
	is_noted($seen_by, $what);
	is_fresh($seen_by, $what);
	is($to->query_safe($CONTENT), $from->query_safe($CONTENT), "$what: both have the same rows");
	return;
}

subtest 'single changes' => sub {
	applied($rollup, 'INSERT', q{INSERT INTO raw (at, k, v) VALUES ('2025-01-05 10:30+00', 'late', 1)});
	applied($rollup, 'UPDATE', q{UPDATE raw SET v = v + 1 WHERE at < '2025-01-02 00:00+00'});
	applied($rollup, 'UPDATE of the time', q{UPDATE raw SET at = at + interval '3 hours' WHERE k = 'late'});
	applied($rollup, 'UPDATE to another partition', q{
		UPDATE raw SET at = at + interval '31 days' WHERE at >= '2025-01-03 00:00+00' AND at < '2025-01-04 00:00+00'});
	applied($rollup, 'DELETE', q{DELETE FROM raw WHERE at >= '2025-01-06 00:00+00' AND at < '2025-01-06 06:00+00'});
	applied($keyless, 'without a key: UPDATE', q{UPDATE keyless SET v = v + 1, k = 'k' WHERE v < 10});
	applied($keyless, 'without a key: DELETE', q{DELETE FROM keyless WHERE v < 20});
};

subtest 'large transactions' => sub {
	my $slot = q{SELECT stream_txns FROM pg_stat_replication_slots WHERE slot_name = 'sub'};
	my $rows = q{INSERT INTO raw (at, k, v) SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '5 minutes', 'many', i
		FROM generate_series(1, 5000) AS i};

	applied($rollup, 'streamed', $rows);
	wait_for($node, 'publisher', qq{SELECT ($slot) > 0}, 'it was streamed');
	applied($rollup, 'streamed, with a part that was rolled back', "BEGIN; $rows; SAVEPOINT s; "
		  . q{DELETE FROM raw WHERE k <> 'many'; ROLLBACK TO s; UPDATE raw SET v = v + 1 WHERE k = 'many'; COMMIT});
	$from->query_safe("BEGIN; $rows; ROLLBACK");
	wait_until_applied();
	is_state($rollup, '0 wrong, clean, ok', 'one that was rolled back');
	applied($rollup, 'a large DELETE', q{DELETE FROM raw WHERE k = 'many'});
};

subtest 'TRUNCATE' => sub {
	applied($rollup, 'of both', 'TRUNCATE raw, keyless');
	is_noted($keyless, 'and the other');
	is_fresh($keyless, 'and the other');
	applied($rollup, 'rows after it', q{INSERT INTO raw (at, k, v) VALUES ('2025-01-05 10:30+00', 'new', 1)});
};

subtest 'a restart of the server' => sub {
	leave($_) for $rollup, $keyless;
	close_session($_) for $from, $to;
	$node->restart;
	$node->safe_psql('publisher', q{INSERT INTO raw (at, k, v) VALUES ('2025-01-05 11:30+00', 'new', 1)});
	wait_until_applied();
	look_at($rollup, $node, 'subscriber');
	is_noted($rollup, 'the first row after it');
	is_fresh($rollup, 'the first row after it');
	leave($rollup);
};

$node->safe_psql('subscriber', 'SET client_min_messages = warning; DROP SUBSCRIPTION sub');
unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/, 'no process was killed');
$node->stop;
done_testing();
