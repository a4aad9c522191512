# A standby runs nothing; once promoted it takes over within seconds.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $FIRST_RUN_WITHIN = 5;

my $primary = start_node('primary', streaming => 1);
$primary->safe_psql('postgres', 'CREATE TABLE half (i int)');
add_job($primary, 'postgres', 'often', 'every 1 second', 'SELECT 1');
add_job($primary, 'postgres', 'long', undef,
	"INSERT INTO half VALUES (1); $FOREVER");

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my $run = trigger($primary, 'postgres', 'long');
wait_in_command($primary, 'postgres', $run);

subtest 'a standby' => sub {
	wait_for($standby, 'postgres', q{
		SELECT count(*) > 2 FROM aggjobs.runs
		WHERE job_name = 'often' AND status = 'succeeded'},
		'runs of the primary are seen on the standby');
	is( $standby->safe_psql('postgres', q{
			SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_aggjobs%'}),
		0, 'has no process of ours');
	isnt((sqlstate_of($standby, 'postgres', q{SELECT aggjobs_trigger('often')}))[0],
		'', 'does not accept a trigger');
	is( $standby->safe_psql('postgres',
			"SELECT status FROM aggjobs.runs WHERE run_id = $run"),
		'running', "shows the primary's run as running");
};

subtest 'a standby that is promoted' => sub {
	$primary->wait_for_catchup($standby);
	$primary->stop('immediate');
	my $promoted = $standby->safe_psql('postgres', 'SELECT clock_timestamp()');
	$standby->promote;

	my $first = q{FROM aggjobs.runs WHERE job_name = 'often' AND status = 'succeeded'}
	  . " AND started_at > '$promoted'";
	wait_for($standby, 'postgres', "SELECT EXISTS (SELECT $first)");
	cmp_ok(
		$standby->safe_psql('postgres',
			"SELECT extract(epoch FROM min(started_at) - '$promoted'::timestamptz) $first"
		),
		'<', $FIRST_RUN_WITHIN, 'runs its first job within seconds');
	is( $standby->safe_psql('postgres',
			"SELECT status FROM aggjobs.runs WHERE run_id = $run"),
		'crashed', 'knows that the run of the dead primary is over');
	is($standby->safe_psql('postgres', 'SELECT count(*) FROM half'),
		0, 'has nothing of its work');
	is( $standby->safe_psql('postgres', q{
			SELECT count(*) - count(DISTINCT slot) FROM aggjobs.runs WHERE slot IS NOT NULL}),
		0, 'has run no slot twice');

	my $retry = $standby->safe_psql('postgres',
		"SELECT run_id FROM aggjobs.runs WHERE retry_of = $run");
	wait_in_command($standby, 'postgres', $retry);
	$standby->safe_psql('postgres', "SELECT aggjobs_cancel($retry)");
	is(wait_for_end($standby, 'postgres', $retry),
		'cancelled', 'has tried it again by itself');
	my $again = trigger($standby, 'postgres', 'long');
	wait_in_command($standby, 'postgres', $again);
	$standby->safe_psql('postgres', "SELECT aggjobs_cancel($again)");
	is(wait_for_end($standby, 'postgres', $again),
		'cancelled', 'runs that job again when it is told to');
};

$standby->stop;
done_testing();
