# Dumps with the real pg_dump, piped into psql: nothing is complained of, jobs
# wait and the user is told how to resume them, and rollups are right, from
# full dumps and from data alone.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('restore');
my $dump = "$PostgreSQL::Test::Utils::tmp_check/restore.sql";
my $late = q{INSERT INTO events VALUES (now() - interval '5 hours', 'late')};

# Rows of the live views that are not what the raw rows say, and the other way round.
sub differences
{
	my ($database) = @_;
	my $truth = q{SELECT date_trunc('%s', at, 'UTC'), kind, count(*)::numeric FROM events GROUP BY 1, 2};
	my @parts;

	for (['day', 'daily_live'], ['hour', 'hourly_live'])
	{
		my ($unit, $live) = @$_;
		my $wanted = sprintf($truth, $unit);
		my $got = "SELECT bucket, kind, n::numeric FROM $live";
		push @parts, "($wanted EXCEPT ALL $got)", "($got EXCEPT ALL $wanted)";
	}
	return $node->safe_psql($database,
		'SELECT count(*) FROM (' . join(' UNION ALL ', @parts) . ') AS d');
}

# What pg_dump says on its standard error, which should be nothing.
sub dump_of
{
	my ($database, @options) = @_;
	my ($out, $err);

	ok(run_log([ 'pg_dump', '--no-sync', '-f', $dump, @options, $node->connstr($database) ],
			'>', \$out, '2>', \$err), "pg_dump @options");
	is($err, '', 'it has nothing to complain of');
	return;
}

# What psql says on its standard error.
sub restore_into
{
	my ($database) = @_;
	my ($out, $err);

	ok(run_log([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr($database) ],
			'>', \$out, '2>', \$err), "psql into $database");
	return $err;
}

# A database for a restore, with a scheduler that keeps its hands off.
sub make_database
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0");
	$node->safe_psql('postgres', "ALTER DATABASE $name SET aggjobs.enabled = off");
	return;
}

$node->safe_psql('postgres', q{
	CREATE TABLE events (at timestamptz NOT NULL, kind text);
	CREATE INDEX ON events (at);
	INSERT INTO events SELECT now() - i * interval '20 minutes', 'k' || i % 3 FROM generate_series(1, 500) AS i;
	SELECT aggjobs_create_rollup('hourly', $$
		SELECT date_trunc('hour', e.at, 'UTC') AS bucket, e.kind, count(*) AS n FROM events AS e GROUP BY 1, 2 $$,
		schedule => NULL);
	SELECT aggjobs_create_rollup('daily', $$
		SELECT date_trunc('day', h.bucket, 'UTC') AS bucket, h.kind, sum(h.n) AS n FROM hourly AS h GROUP BY 1, 2 $$,
		schedule => NULL);
	CALL aggjobs_refresh('daily');});
add_job($node, 'postgres', 'first', 'every 1 day', 'SELECT 1');
add_job($node, 'postgres', 'second', 'every 1 day', 'SELECT 1');
add_job($node, 'postgres', 'paused', 'every 1 day', 'SELECT 1');
$node->safe_psql('postgres', q{SELECT aggjobs_pause('paused')});
$node->safe_psql('postgres', $late);

subtest 'all of a database' => sub {
	dump_of('postgres');
	make_database('whole');
	my $said = restore_into('whole');
	my @warnings = $said =~ /(\d+) restored jobs of pg_aggjobs do not run by schedule yet/g;

	is("@warnings", '2', 'it is said once that jobs wait, and how many');
	like($said, qr/HINT: .*SELECT aggjobs_resume\(NULL\)/, 'and how to resume them');
	is( $node->safe_psql('whole', q{
			SELECT string_agg(job_name || ' ' || state, ', ' ORDER BY job_name) FROM aggjobs.jobs
			WHERE job_name IN ('first', 'second', 'paused')}),
		'first copied, paused paused, second copied', 'they wait');
	$node->safe_psql('whole', 'SELECT aggjobs_resume(NULL)');
	is( $node->safe_psql('whole', q{SELECT count(*) FROM aggjobs.jobs WHERE state = 'copied'}),
		0, 'until they are resumed');
	is(differences('whole'), 0, 'the live views are right');
	$node->safe_psql('whole', $late);
	is(differences('whole'), 0, 'after late rows too');
	$node->safe_psql('whole', q{CALL aggjobs_refresh('daily')});
	is(differences('whole'), 0, 'and after a refresh');
};

subtest 'schema and data apart' => sub {
	dump_of('postgres', '--schema-only');
	make_database('parts');
	is(restore_into('parts') =~ /restored jobs/, '', 'no jobs come with the schema');
	dump_of('postgres', '--data-only');
	like(restore_into('parts'), qr/2 restored jobs of pg_aggjobs/, 'they come with the data');
	is(differences('parts'), 0, 'the live views are right');
	$node->safe_psql('parts', $late);
	is(differences('parts'), 0, 'after late rows too');
	$node->safe_psql('parts', q{CALL aggjobs_refresh('daily')});
	is(differences('parts'), 0, 'and after a refresh');
};

# The horizon of this database is older than the one that is restored.
subtest 'how far rollups are, into a database in use' => sub {
	$node->safe_psql('whole', q{
		BEGIN;
		CREATE TABLE before AS SELECT * FROM aggjobs.rollup_state;
		DELETE FROM aggjobs.rollup_state;
		INSERT INTO events VALUES (now() + interval '6 hours', 'ahead');
		COMMIT;});
	$node->safe_psql('postgres', q{
		UPDATE aggjobs.rollup_state
		SET horizon = date_trunc('day', now() + interval '3 days', 'UTC') WHERE rollup_name = 'hourly'});
	dump_of('postgres', '--data-only', '-t', 'aggjobs.rollup_state');
	restore_into('whole');
	is( $node->safe_psql('whole', q{
			SELECT count(*) FROM aggjobs.rollup_state AS s JOIN before AS b USING (rollup_name)
			WHERE s.horizon > b.horizon}),
		1, 'the horizon is later now');
	is(differences('whole'), 0, 'the live views are right');
	$node->safe_psql('whole', q{INSERT INTO events VALUES (now() + interval '8 hours', 'ahead')});
	is(differences('whole'), 0, 'after rows between the horizons too');
	$node->safe_psql('whole', q{CALL aggjobs_refresh('daily')});
	is(differences('whole'), 0, 'and after a refresh');
};

$node->stop;
done_testing();
