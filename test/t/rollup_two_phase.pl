# What a server forgets when it stops, rollups do not: prepared transactions that
# outlive a crash, and writes on both sides of a restart, are noted.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Utils;
use RollupTest;
use Test::More;

my $node = start_node('rollup_two_phase', conf => "restart_after_crash = on\n");

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', "SET client_min_messages = warning;\n$sql");
}

my $FILL = q{SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '37 minutes', chr(97 + i % 3), i
	FROM generate_series(0, 500) AS i};

sql(qq{
	CREATE TABLE raw (at timestamptz NOT NULL, k text, v bigint);
	CREATE INDEX ON raw (at);
	INSERT INTO raw $FILL;
	CREATE TABLE parts (at timestamptz NOT NULL, k text, v bigint) PARTITION BY RANGE (at);
	CREATE TABLE jan PARTITION OF parts FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-02-01 00:00+00');
	CREATE TABLE rest PARTITION OF parts DEFAULT;
	INSERT INTO parts $FILL});
my $rollup = make_rollup($node, 'by_hour', by_hour('raw'));
my $other = make_rollup($node, 'of_parts', by_hour('parts'));

# With nobody looking, and what is looked at from a new session afterwards.
sub restart
{
	my ($how) = @_;

	leave($_) for $rollup, $other;
	$node->stop($how);
	$node->start;
	look_at($_, $node) for $rollup, $other;
	return;
}

sub prepare
{
	my ($gid, $sql) = @_;

	sql("BEGIN; $sql; PREPARE TRANSACTION '$gid'");
	return;
}

sub late
{
	my ($at, $n) = @_;
	return "INSERT INTO raw SELECT '2025-$at:00+00'::timestamptz + i * interval '1 hour', 'a', i"
	  . ' FROM generate_series(1, ' . ($n // 1) . ') AS i';
}

subtest 'prepared, crash, decided' => sub {
	for my $refreshed ([], ['before'], ['after'], [ 'before', 'after' ])
	{
		my %refreshed = map { $_ => 1 } @$refreshed;
		my $what = 'refreshed ' . (join(' and ', @$refreshed) || 'never');

		prepare('insert', late('01-02 10:05'));
		prepare('many', late('01-03 10:05', 2500)) if @$refreshed == 1;
		prepare('change', q{UPDATE raw SET v = v + 1 WHERE at < '2025-01-02 00:00+00'});
		prepare('gone', late('01-04 10:05') . q{; DELETE FROM raw WHERE at >= '2025-01-05 00:00+00'
			AND at < '2025-01-06 00:00+00'});
		is_fresh($rollup, "$what: prepared") if $refreshed{before};
		restart('immediate');
		is_state($rollup, '0 wrong, clean, ok', "$what: after the crash");
		is_fresh($rollup, "$what: after the crash") if $refreshed{after};
		sql(q{ROLLBACK PREPARED 'gone'});
		is_state($rollup, '0 wrong, clean, ok', "$what: ROLLBACK PREPARED");
		for my $gid ('insert', 'change', @$refreshed == 1 ? 'many' : ())
		{
			sql("COMMIT PREPARED '$gid'");
			is_noted($rollup, "$what: COMMIT PREPARED of $gid");
			is_fresh($rollup, "$what: COMMIT PREPARED of $gid");
		}
	}
};

subtest 'prepared DDL' => sub {
	my %ddl = (
		'TRUNCATE' => 'TRUNCATE parts; INSERT INTO parts VALUES (\'2025-01-05 00:00+00\', \'a\', 1)',
		'TRUNCATE of a partition' => 'TRUNCATE jan',
		'a partition that goes' => 'ALTER TABLE parts DETACH PARTITION jan',
		'a partition that comes' => q{ALTER TABLE parts ATTACH PARTITION jan
			FOR VALUES FROM ('2025-01-01 00:00+00') TO ('2025-02-01 00:00+00')},
		'a rewrite' => 'ALTER TABLE parts ADD r float8 DEFAULT random()');

	for my $what ('TRUNCATE', 'TRUNCATE of a partition', 'a partition that goes',
		'a partition that comes', 'a rewrite')
	{
		sql("INSERT INTO parts $FILL") if $what !~ /comes/;
		is_fresh($other, "rows before $what");
		prepare('ddl', $ddl{$what});
		restart('immediate');
		sql(q{COMMIT PREPARED 'ddl'});
		is_noted($other, $what);
		is_fresh($other, $what);
	}
	prepare('ddl', 'ALTER TABLE parts DISABLE TRIGGER aggjobs_capture_delete');
	restart('immediate');
	sql(q{COMMIT PREPARED 'ddl'; DELETE FROM parts WHERE v < 100});
	is_state($other, '0 wrong, stale, problem, failing', 'a trigger that is disabled');
	is_fresh($other, 'a trigger that is disabled');
};

subtest 'the horizon passes what is prepared, or open' => sub {
	sql('CREATE TABLE quick (at timestamptz NOT NULL, v bigint); CREATE INDEX ON quick (at)');
	my $seconds = make_rollup($node, 'by_second', q{
		SELECT date_trunc('second', at, 'UTC') AS bucket, count(*) AS n, sum(v) AS total FROM quick GROUP BY 1});
	my $open = open_session($node);

	$open->query_safe('BEGIN; INSERT INTO quick VALUES (clock_timestamp(), 1)');
	prepare('present', 'INSERT INTO quick VALUES (clock_timestamp(), 2)');
	my $second = sql(q{SELECT date_trunc('second', clock_timestamp())});
	wait_for($node, 'postgres', "SELECT clock_timestamp() >= '$second'::timestamptz + interval '1 second'");
	is_fresh($seconds, 'before they end');
	is( sql(qq{SELECT horizon > '$second' FROM aggjobs.rollups WHERE rollup_name = 'by_second'}),
		't', 'the horizon is above what they wrote');
	$open->query_safe('COMMIT');
	close_session($open);
	is_noted($seconds, 'the open one commits');
	is_fresh($seconds, 'the open one commits');
	sql(q{COMMIT PREPARED 'present'});
	is_noted($seconds, 'the prepared one is committed');
	is_fresh($seconds, 'the prepared one is committed');
	leave($seconds);
};

# A prepared horizon would be unknown after a crash, and another rollup of the
# source would tell writers of its own, which is lower.
subtest 'a refresh that is prepared' => sub {
	sql(q{CREATE TABLE pair (at timestamptz NOT NULL, k text, v bigint);
		CREATE INDEX ON pair (at);
		INSERT INTO pair SELECT '2025-01-01 00:00+00'::timestamptz + i * interval '1 hour', 'a', i
		FROM generate_series(1, 50) AS i});
	my $years = make_rollup($node, 'by_year', q{
		SELECT date_trunc('year', at, 'UTC') AS bucket, count(*) AS n, sum(v) AS v FROM pair GROUP BY 1});

	sql(q{SELECT aggjobs_create_rollup('by_one', $$} . by_hour('pair') . q{$$, schedule => NULL)});
	my ($code, $err) = sqlstate_of($node, 'postgres',
		q{BEGIN; CALL aggjobs_refresh('by_one'); PREPARE TRANSACTION 'refresh'});
	is($code, '0A000', 'is refused where it moves the horizon');
	like($err, qr/^HINT: .*Commit/m, 'with a hint');

	sql(q{INSERT INTO pair VALUES ('2025-03-01 00:00+00', 'a', 1)});
	is_noted($years, 'a late row');
	leave($years);
	prepare('refresh', q{CALL aggjobs_refresh('by_year')});
	restart('immediate');
	sql(q{INSERT INTO pair VALUES ('2025-04-01 00:00+00', 'a', 1)});
	look_at($years, $node);
	is_noted($years, 'another, while the refresh is prepared');
	sql(q{COMMIT PREPARED 'refresh'});
	is_noted($years, 'the same after COMMIT PREPARED');
	is_fresh($years, 'the same after COMMIT PREPARED');
	leave($years);
};

subtest 'a rollup whose making is prepared' => sub {
	prepare('make', q{SELECT aggjobs_create_rollup('by_day', $$} . by_day('raw') . q{$$, schedule => NULL)});
	restart('immediate');
	sql(q{COMMIT PREPARED 'make'});
	my $days = follow_rollup($node, 'by_day', by_day('raw'));

	is_fresh($days, 'made');
	sql(late('02-03 10:05'));
	is_noted($days, 'written');
	is_fresh($days, 'written');
	leave($days);
};

subtest 'writes on both sides of a restart' => sub {
	for my $how ('fast', 'immediate')
	{
		is_fresh($rollup, "before: $how");
		sql(late('01-07 10:05'));
		restart($how);
		is_noted($rollup, "written before: $how");
		is_fresh($rollup, "written before: $how");
		restart($how);
		sql(late('01-07 11:05'));
		is_noted($rollup, "written after: $how");
		is_fresh($rollup, "written after: $how");
		restart($how);
		sql(q{INSERT INTO raw VALUES (now(), 'a', 1)});
		is_noted($rollup, "the present, while no horizon is known: $how");
		is_fresh($rollup, "the present, while no horizon is known: $how");
		sql(q{INSERT INTO raw VALUES (now() + interval '1 minute', 'a', 1)});
		is_state($rollup, '0 wrong, clean, ok', "the present, once it is known: $how");
	}
};

subtest 'a crash of one backend' => sub {
	my $victim = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $victim->query('SELECT pg_backend_pid()');

	leave($_) for $rollup, $other;
	sql(late('01-08 10:05'));
	kill 'KILL', $pid;
	# Until the server has noticed, it still lets sessions in.
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	$victim->{run}->finish;
	look_at($rollup, $node);
	is_noted($rollup, 'written before');
	sql(late('01-08 12:05'));
	is_fresh($rollup, 'written after');
	leave($rollup);
};

unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'no process has failed');
$node->stop;
done_testing();
