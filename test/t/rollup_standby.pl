# Live views on a hot standby are right in each of its snapshots, whatever the
# primary writes, refreshes and truncates meanwhile; and after promotion.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RollupTest;
use Test::More;

my $primary = start_node('rollup_primary', streaming => 1);
my $writer = open_session($primary);

my $FILL = q{SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '37 minutes', chr(97 + i % 3), i
	FROM generate_series(0, 500) AS i};
$writer->query_safe(qq{
	CREATE TABLE raw (at timestamptz NOT NULL, k text, v bigint) PARTITION BY RANGE (at);
	CREATE TABLE jan PARTITION OF raw FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-02-01 00:00+00');
	CREATE TABLE rest PARTITION OF raw DEFAULT;
	CREATE INDEX ON raw (at);
	INSERT INTO raw $FILL});
my $there = make_rollup($primary, 'by_hour', by_hour('raw'));
my $days = make_rollup($primary, 'by_day', q{
	SELECT date_trunc('day', bucket, 'UTC') AS bucket, key, sum(n) AS n FROM by_hour GROUP BY 1, 2});
my $daily = q{SELECT date_trunc('day', at, 'UTC') AS bucket, k AS key, count(*)::numeric AS n FROM raw GROUP BY 1, 2};
$days->{query} = $daily;

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('rollup_standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "hot_standby_feedback = on\n");
$standby->start;
my $here = follow_rollup($standby, 'by_hour', by_hour('raw'));
my $days_here = follow_rollup($standby, 'by_day', $daily);

# On the standby, once it has all that the primary has.
sub is_here
{
	my ($state, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$primary->wait_for_catchup($standby);
	is_state($here, $state, "on the standby, $what");
	is_state($days_here, $state, "and the rollup above, $what");
	return;
}

subtest 'step by step' => sub {
	is_here('0 wrong, clean, ok', 'at first');
	$writer->query_safe(q{INSERT INTO raw VALUES ('2025-01-03 10:30+00', 'late', 1);
		UPDATE raw SET v = v + 1, at = at + interval '1 hour' WHERE k = 'a' AND at < '2025-01-02 00:00+00';
		DELETE FROM raw WHERE at >= '2025-01-05 00:00+00' AND at < '2025-01-05 12:00+00'});
	$primary->wait_for_catchup($standby);
	is_state($here, '0 wrong, stale, ok', 'on the standby, written');
	like(state($days_here), qr/^0 wrong/, 'and the rollup above');
	is((sqlstate_of($standby, 'postgres', q{CALL aggjobs_refresh('by_hour')}))[0],
		'25006', 'the standby refuses to refresh it');
	is_fresh($there, 'on the primary');
	refresh($days);
	is_here('0 wrong, clean, ok', 'refreshed');
	$writer->query_safe('ALTER TABLE jan DISABLE TRIGGER aggjobs_capture_delete; DELETE FROM jan WHERE v < 20');
	$primary->wait_for_catchup($standby);
	is_state($here, '0 wrong, stale, problem, failing', 'on the standby, capture disturbed');
	is_fresh($there, 'on the primary, capture mended');
	refresh($days);
	is_here('0 wrong, clean, ok', 'mended');
};

# The old snapshot sees the table as it is now, and so must the live view.
subtest 'snapshots from before TRUNCATE and DDL' => sub {
	for my $ddl ('TRUNCATE raw', 'TRUNCATE jan', 'ALTER TABLE raw DETACH PARTITION jan',
		q{ALTER TABLE raw ATTACH PARTITION jan FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-02-01 00:00+00')},
		'ALTER TABLE raw ADD r float8 DEFAULT random()')
	{
		$writer->query_safe("INSERT INTO raw (at, k, v) $FILL") if $ddl !~ /ATTACH/;
		refresh($days);
		$primary->wait_for_catchup($standby);
		$here->{session}->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_type');
		$writer->query_safe($ddl);
		refresh($days);
		$primary->wait_for_catchup($standby);
		like(state($here), qr/^0 wrong/, "$ddl: the old snapshot");
		$here->{session}->query_safe('COMMIT');
		is_here('0 wrong, clean, ok', "$ddl: a new one");
	}
};

subtest 'while the primary works' => sub {
	my $work = '';

	for my $i (1 .. 15)
	{
		$work .= qq{
			INSERT INTO raw (at, k, v) SELECT '2025-01-01 00:00+00'::timestamptz + random() * interval '20 days', 'w', $i
			FROM generate_series(1, 20);
			UPDATE raw SET v = v + 1, at = at + interval '3 hours' WHERE v % 40 = $i;
			DELETE FROM raw WHERE v % 50 = $i;
			CALL aggjobs_refresh('by_day');\n};
		$work .= 'VACUUM raw;' if $i % 5 == 0;
	}
	my ($seen, $wrong) = (0, 0);
	$writer->{stdin} .= "$work\n\\echo done\n";
	until ($writer->{stdout} =~ /done/)
	{
		$writer->{run}->pump_nb;
		for my $rollup ($here, $days_here)
		{
			my $state = state($rollup);

			$seen++;
			next if $state =~ /^0 wrong/;
			$wrong++;
			diag $state;
		}
		last if $writer->{timeout}->is_expired;
	}
	$writer->{stdout} = '';
	cmp_ok($seen, '>', 4, "$seen looks");
	is($wrong, 0, 'and each is right');
	refresh($days);
	is_here('0 wrong, clean, ok', 'in the end');
};

subtest 'promotion' => sub {
	$writer->query_safe(q{INSERT INTO raw (at, k, v) VALUES ('2025-01-03 11:30+00', 'last', 1);
		BEGIN; INSERT INTO raw (at, k, v) VALUES ('2025-01-04 11:30+00', 'prepared', 1);
		PREPARE TRANSACTION 'p'});
	$primary->wait_for_catchup($standby);
	leave($_) for $there, $days;
	close_session($writer);
	$primary->stop('immediate');
	$standby->promote;
	# Sessions from before the promotion go on.
	is_noted($here, 'what was written by the primary');
	is_fresh($here, 'what was written by the primary');
	$standby->safe_psql('postgres', q{COMMIT PREPARED 'p'});
	is_noted($here, 'what was prepared by the primary');
	is_fresh($here, 'what was prepared by the primary');
	write_ok($here, $here->{session}, 'a late row',
		q{INSERT INTO raw (at, k, v) VALUES ('2025-01-03 12:30+00', 'new', 1)});
	write_ok($here, $here->{session}, 'an update and a delete',
		q{UPDATE raw SET v = 0 WHERE k = 'new'; DELETE FROM raw WHERE k = 'last'});
	refresh($days_here);
	is_state($days_here, '0 wrong, clean, ok', 'the rollup above');
	leave($_) for $here, $days_here;
};

unlike(slurp_file($_->logfile), qr/was terminated by signal|PANIC|TRAP/, 'no process was killed')
  for $primary, $standby;
$standby->stop;
done_testing();
