# Live views stay right where it is not the tables that say what was written:
# after a restart of the server, and for a query that writes while it reads.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('rollup_capture');

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', "SET client_min_messages = warning;\n$sql");
}

sub query
{
	my ($unit) = @_;
	return "SELECT date_trunc('$unit', at, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1";
}

# A rollup of raw by hour, year, ... that has been refreshed.
sub rollup
{
	my ($unit) = @_;

	sql("SELECT aggjobs_create_rollup('by_$unit', \$\$" . query($unit) . q{$$, schedule => NULL)});
	sql("CALL aggjobs_refresh('by_$unit')");
	return;
}

sub is_right
{
	my ($unit, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is( sql("SELECT count(*) FROM ((TABLE by_${unit}_live EXCEPT ALL @{[ query($unit) ]})"
			  . " UNION ALL (@{[ query($unit) ]} EXCEPT ALL TABLE by_${unit}_live)) AS wrong"),
		0, $what);
	return;
}

sql(q{CREATE TABLE raw (at timestamptz NOT NULL, v int);
	INSERT INTO raw SELECT date_trunc('hour', now()) - i * interval '10 minutes', i
	FROM generate_series(1, 500) AS i});
rollup('hour');

subtest 'a coarser rollup refreshed first after a restart' => sub {
	$node->restart;
	rollup('millennium');
	# Below the horizon of hours and above that of millennia.
	sql(q{INSERT INTO raw VALUES (date_trunc('hour', now()) - interval '125 minutes', 0)});
	is_right('hour', 'the live view has what was written late');
	sql(q{CALL aggjobs_refresh('by_hour')});
	is_right('hour', 'also after a refresh');
	sql(q{SELECT aggjobs_drop_rollup('by_millennium')});
};

subtest 'a query that writes while it reads' => sub {
	my $rows = sql('SELECT count(*) FROM by_hour_live');

	sql(q{CREATE FUNCTION write(bucket timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO raw VALUES (bucket + interval '1 minute', 0);
			RETURN 1;
		END $$});
	is(sql('SELECT sum(write) FROM (SELECT write(bucket) FROM by_hour_live OFFSET 0) AS w'),
		$rows, 'by a function: each bucket once');
	is_right('hour', 'and right afterwards');
	sql(q{CALL aggjobs_refresh('by_hour')});
	is( sql(q{CREATE TABLE seen (n integer);
			DO $$
			DECLARE
				r record;
				n integer := 0;
			BEGIN
				FOR r IN SELECT * FROM by_hour_live LOOP
					n := n + write(r.bucket);
				END LOOP;
				INSERT INTO seen VALUES (n);
			END $$;
			SELECT n FROM seen}),
		$rows, 'in a loop over its rows: each bucket once');
	is_right('hour', 'and right afterwards');
	sql(q{CALL aggjobs_refresh('by_hour')});
	is(sql(q{WITH w AS (INSERT INTO raw SELECT bucket, 0 FROM by_hour_live RETURNING 1)
			SELECT count(*) FROM w}),
		$rows, 'by a WITH clause: each bucket once');
	is_right('hour', 'and right afterwards');
};

unlike(slurp_file($node->logfile), qr/was terminated by signal|PANIC|TRAP/,
	'no process was killed');
$node->stop;
done_testing();
