# What shares the server with us: libraries that hook into the same places, before
# and after us, and clients that take all connections.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';

for my $libraries ('pg_stat_statements, auto_explain, pg_aggjobs', 'pg_aggjobs, pg_stat_statements, auto_explain')
{
	subtest "shared_preload_libraries = '$libraries'" => sub {
		my $node = start_node('hooks' . length(($libraries =~ /(.*)pg_aggjobs/)[0]), conf => <<"CONF");
shared_preload_libraries = '$libraries'
pg_stat_statements.track = all
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_analyze = on
CONF
		$node->safe_psql($db, q{
			CREATE EXTENSION pg_stat_statements;
			CREATE TABLE raw (at timestamptz NOT NULL, v integer);
			CREATE ROLE former LOGIN;
			CREATE ROLE later LOGIN;
			SELECT aggjobs_grant('former');
			SELECT aggjobs_grant('later');
			SELECT aggjobs_create_rollup('by_hour', $$SELECT date_trunc('hour', at, 'UTC') AS bucket, sum(v) AS v FROM raw GROUP BY 1$$)});
		add_job($node, $db, 'work', undef, 'SELECT 4711', owner => q{'former'});
		is((run_to_end($node, $db, 'work'))[1], 'succeeded', 'a job runs');
		is($node->safe_psql($db, q{SELECT calls FROM pg_stat_statements WHERE query LIKE 'SELECT $1' AND calls = 1}),
			1, 'and its command is in their statistics');
		ok($node->log_contains(qr/Query Text: SELECT 4711/), 'and in their log');

		$node->safe_psql($db, q{INSERT INTO raw SELECT now() - g * interval '10 minutes', g FROM generate_series(1, 100) AS g});
		is((run_to_end($node, $db, 'by_hour'))[1], 'succeeded', 'a rollup is refreshed');
		$node->safe_psql($db, q{UPDATE raw SET v = v + 1 WHERE v % 7 = 0; DELETE FROM raw WHERE v % 11 = 0});
		is($node->safe_psql($db, q{
			SELECT count(*) FROM (
				(TABLE by_hour_live EXCEPT SELECT date_trunc('hour', at, 'UTC'), sum(v) FROM raw GROUP BY 1)
				UNION ALL
				(SELECT date_trunc('hour', at, 'UTC'), sum(v) FROM raw GROUP BY 1 EXCEPT TABLE by_hour_live)) AS d}),
			0, 'what is written is captured');

		$node->safe_psql($db, 'REASSIGN OWNED BY former TO later');
		is($node->safe_psql($db, q{SELECT owner FROM aggjobs.jobs WHERE job_name = 'work'}), 'later', 'jobs follow REASSIGN OWNED');
		$node->safe_psql($db, 'CREATE DATABASE guest');
		create_extension($node, 'guest');
		$node->safe_psql($db, 'DROP DATABASE guest');
		pass('a database with a scheduler can be dropped');
		$node->stop;
	};
}

subtest 'no connection is left' => sub {
	my $node = start_node('connections', conf => "max_connections = 5\nsuperuser_reserved_connections = 1\n");
	add_job($node, $db, 'work', 'every 1 second', 'SELECT 1');
	my $last = $node->background_psql($db);
	my @sessions = ($last);
	for my $n (1 .. 4)
	{
		# One that has ended may still be there.
		$last->query("DO 'BEGIN LOOP
			EXIT WHEN (SELECT count(*) = $n FROM pg_stat_activity WHERE backend_type = ''client backend'');
			PERFORM pg_stat_clear_snapshot(); END LOOP; END'");
		push @sessions, $node->background_psql($db);
	}
	my ($status, undef, $error) = $node->psql($db, 'SELECT 1');
	isnt($status, 0, 'nobody can connect');
	like($error, qr/too many clients already|remaining connection slots/, 'as there are too many clients');
	my $since = $last->query('SELECT clock_timestamp()');
	$last->query(q{DO 'BEGIN LOOP
		EXIT WHEN (SELECT count(*) > 2 FROM aggjobs.runs WHERE started_at > } . "''$since''" . q{ AND status = ''succeeded'');
		PERFORM pg_stat_clear_snapshot(); END LOOP; END'});
	is($last->query(qq{SELECT count(*) > 2 FROM aggjobs.runs WHERE started_at > '$since' AND status = 'succeeded'}),
		't', 'jobs run all the same');
	is($last->query(q{SELECT coalesce(sum(slots), 0) FROM aggjobs.runs WHERE status NOT IN ('succeeded', 'queued', 'running')}),
		0, 'and none is missed');
	$_->quit for @sessions;
	$node->stop;
};

done_testing();
