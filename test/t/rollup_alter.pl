# A rollup is altered in the background: that goes on after a crash, comes back
# from a dump, waits for readers, and answers as before until it is done.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('rollup_alter');

sub sql
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', "SET client_min_messages = warning;\n$sql");
}

my %query = (
	old => q{SELECT date_trunc('hour', at, 'UTC') AS bucket, kind, count(*) AS n FROM raw GROUP BY 1, 2},
	new => q{SELECT date_trunc('hour', at, 'UTC') AS bucket, kind, count(*) AS n, sum(v) AS total FROM raw WHERE slow(v) > 5 GROUP BY 1, 2},
);

sub is_right
{
	my ($live, $version, $what, $database) = @_;
	my $query = $query{$version};
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is( sql("SELECT count(*) FROM ((TABLE $live EXCEPT ALL ($query)) UNION ALL (($query) EXCEPT ALL TABLE $live)) AS wrong", $database),
		0, $what);
	return;
}

sub successors
{
	return sql(q{SELECT count(*) FROM aggjobs.rollup WHERE replaces = 'hourly'});
}

# The new query waits where a test holds lock 4711.
sql(q{CREATE FUNCTION slow(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		IF current_setting('application_name') LIKE 'pg_aggjobs worker%' OR pg_catalog.pg_backend_pid() IN
			(SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_aggjobs%') THEN
			PERFORM pg_catalog.pg_advisory_xact_lock_shared(4711);
		END IF;
		RETURN v;
	END $$});
sql(q{CREATE TABLE raw (at timestamptz NOT NULL, kind int, v int);
	INSERT INTO raw SELECT now() - i * interval '30 minutes', i % 3, i FROM generate_series(1, 100) AS i});
sql("SELECT aggjobs_create_rollup('hourly', \$\$$query{old}\$\$, schedule => NULL)");
sql(q{CALL aggjobs_refresh('hourly')});

sub alter
{
	my ($version) = @_;

	return sql("SELECT count(*) FROM aggjobs_alter_rollup('hourly', \$\$$query{$version}\$\$)");
}

subtest 'the server dies while it is computed' => sub {
	my $holder = $node->background_psql('postgres');

	$holder->query_safe('SELECT pg_advisory_lock(4711)');
	alter('new');
	wait_for($node, 'postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted},
		'the background computes it');
	is_right('hourly_live', 'old', 'the old answer is given');
	# A job that is paused is not tried again by itself.
	sql(q{SELECT aggjobs_pause('hourly_next')});
	$node->stop('immediate');
	eval { $holder->quit; };
	$node->start;
	wait_for_scheduler($node, 'postgres');
	is_right('hourly_live', 'old', 'the old answer is given after a crash');
	is(successors(), 1, 'and the alteration is there');
	sql(q{INSERT INTO raw VALUES (now() - interval '20 hours', 1, 1000)});
	is_right('hourly_next_live', 'new', 'what comes next is right already');
};

subtest 'a dump has both' => sub {
	my $dump = $node->basedir . '/dump.sql';

	$node->run_log([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'postgres' ]);
	$node->safe_psql('postgres', 'CREATE DATABASE copy');
	$node->run_log([ 'psql', '-X', '-q', '-h', $node->host, '-p', $node->port, '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'copy' ]);
	is_right('hourly_live', 'old', 'the old answer', 'copy');
	is_right('hourly_next_live', 'new', 'the new one', 'copy');
	sql(q{CALL aggjobs_refresh('hourly_next')}, 'copy');
	is_right('hourly_live', 'new', 'and it is completed there', 'copy');
	is(sql(q{SELECT count(*) FROM aggjobs.rollup WHERE replaces IS NOT NULL}, 'copy'), 0, 'in the place of the old one');
};

subtest 'a reader holds the old one' => sub {
	my $reader = $node->background_psql('postgres');

	$reader->query_safe('BEGIN');
	$reader->query_safe('SELECT count(*) FROM hourly_live');
	is((run_to_end($node, 'postgres', 'hourly_next'))[1], 'succeeded', 'a run waits for the reader no longer than it may');
	is(successors(), 1, 'and takes the place another time');
	is_right('hourly_live', 'old', 'others read on');
	$reader->query_safe('COMMIT');
	$reader->quit;
	is((run_to_end($node, 'postgres', 'hourly_next'))[1], 'succeeded', 'the next run');
	is(successors(), 0, 'takes it');
	is_right('hourly_live', 'new', 'the new answer is given');
	is(sql(q{SELECT count(*) FROM aggjobs.job WHERE job_name = 'hourly_next'}), 0, 'its job is gone');
	is(sql(q{SELECT count(*) FROM aggjobs_verify('hourly')}), 0, 'the table is right');
};

done_testing();
