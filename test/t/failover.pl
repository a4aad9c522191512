# The primary is killed and its standby promoted: every slot is accounted for,
# what ran has crashed and is tried again, and nothing is stuck.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $FIRST_RUN_WITHIN = 5;
my $db = 'postgres';

# Rewinding the old primary wants wal_log_hints.
my $primary = start_node('primary', streaming => 1, conf => "wal_log_hints = on\nwal_keep_size = 256MB\n");

$primary->safe_psql($db, q{
	CREATE TABLE event (at timestamptz NOT NULL, v integer NOT NULL);
	INSERT INTO event SELECT now() - g * interval '1 minute', g FROM generate_series(1, 1000) AS g;
	SELECT aggjobs_create_rollup('by_hour',
		$$SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*) AS n, sum(v) AS total FROM event GROUP BY 1$$, 'every 1 second');
	CREATE TABLE effect (job text, slot_like timestamptz DEFAULT clock_timestamp())});
for my $catch_up ('skip', 'last', 'all')
{
	add_job($primary, $db, "each second $catch_up", '* * * * * *', 'SELECT 1', catch_up => qq{'$catch_up'},
		catch_up_limit => 1000);
}
add_job($primary, $db, 'long', undef, "INSERT INTO effect VALUES ('long'); $FOREVER",
	retry_delay => q{'10 ms'});
add_job($primary, $db, 'waits', undef, q{INSERT INTO effect VALUES ('waits')}, after => q{'{long}'});

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my $run = trigger($primary, $db, 'long');
wait_in_command($primary, $db, $run);
my $queued = trigger($primary, $db, 'long');

sub processes
{
	my ($node) = @_;

	return $node->safe_psql($db, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_aggjobs%'});
}

# What became of the slots between the last that the dead primary has recorded and
# the first that is run after: how many were missed, and what is wrong with that.
# They should be one row, from the one to the other, and what is run should be the
# last that had come.
sub missed_between
{
	my ($node, $job, $died) = @_;

	return $node->safe_psql($db, qq{
		WITH rows AS (
			SELECT * FROM aggjobs.runs WHERE job_name = '$job' AND trigger = 'schedule' AND attempt = 1),
		last AS (SELECT max(coalesce(until_slot, slot)) AS slot FROM rows WHERE queued_at < '$died'),
		first AS (SELECT r.slot, r.queued_at FROM rows r, last
			WHERE r.slot > last.slot AND r.status <> 'missed' ORDER BY r.slot LIMIT 1),
		missed AS (SELECT r.* FROM rows r, last, first WHERE r.slot > last.slot AND r.slot < first.slot)
		SELECT extract(epoch FROM first.slot - last.slot)::int - 1,
			concat_ws('; ',
				CASE WHEN (SELECT count(*) FROM missed) > 1 THEN 'several rows' END,
				CASE WHEN (SELECT coalesce(sum(slots), 0) FROM missed) <> extract(epoch FROM first.slot - last.slot) - 1 THEN 'not all' END,
				CASE WHEN EXISTS (SELECT FROM missed WHERE slot <> last.slot + interval '1 second'
					OR coalesce(until_slot, slot) <> first.slot - interval '1 second') THEN 'from or to another' END,
				CASE WHEN first.queued_at - first.slot >= interval '2 seconds' THEN 'a late one is run' END)
		FROM first, last});
}

sub differences
{
	my ($node) = @_;

	return $node->safe_psql($db, q{
		SELECT count(*) FROM (
			(TABLE by_hour_live EXCEPT SELECT date_trunc('hour', at, 'UTC'), count(*), sum(v) FROM event GROUP BY 1)
			UNION ALL
			(SELECT date_trunc('hour', at, 'UTC'), count(*), sum(v) FROM event GROUP BY 1 EXCEPT TABLE by_hour_live)) AS d});
}

subtest 'a standby' => sub {
	wait_for($standby, $db, q{
		SELECT count(*) FILTER (WHERE status = 'succeeded') > 5 FROM aggjobs.runs}, 'runs of the primary are seen');
	is(processes($standby), 0, 'has no process of ours');
	for my $call (q{aggjobs_backfill('by_hour')}, q{aggjobs_trigger('long')}, q{aggjobs_schedule('x', NULL, 'SELECT 1')}, q{aggjobs_pause('long')},
		"aggjobs_cancel($queued)", q{aggjobs_retry((SELECT min(run_id) FROM aggjobs.runs))}, q{aggjobs_set_queue('q', 1)})
	{
		is((sqlstate_of($standby, $db, "SELECT $call"))[0], '25006', "refuses $call");
	}
	for my $call (q{SELECT aggjobs_retire('event', now())}, q{CALL aggjobs_run('long')}, q{CALL aggjobs_refresh('by_hour')},
		q{SELECT aggjobs_sync_jobs('[]')}, q{SELECT aggjobs_repair('by_hour')}, q{SELECT aggjobs_resume('long')},
		q{SELECT aggjobs_drop_job('long')}, q{SELECT aggjobs_alter_job('long', description => 'x')}, q{SELECT aggjobs_drop_rollup('by_hour')},
		q{SELECT aggjobs_alter_rollup('by_hour', 'SELECT 1')}, q{SELECT aggjobs_create_rollup('x', 'SELECT 1')}, q{SELECT aggjobs_set('x', 'y')},
		q{SELECT aggjobs_mark_changed('event', NULL, NULL)}, q{SELECT aggjobs_drop_queue('x')}, q{SELECT aggjobs_trigger('long')},
		"SELECT aggjobs_cancel($queued)", "SELECT aggjobs_retry($queued)", q{SELECT aggjobs_schedule('x', NULL, 'SELECT 1')})
	{
		my (undef, undef, $error) = $standby->psql($db, $call);
		my ($name) = $call =~ /(aggjobs_\w+)/;

		like($error, qr/cannot execute $name\(\) on a standby\nHINT:  Call it on the primary, or promote/, "tells where to call $name()");
	}
	is($standby->safe_psql($db, q{SELECT aggjobs_trigger('long', dry_run => true)}), '', 'a dry run is one here, too');
	is(differences($standby), 0, 'has exact live views');
};

my $died;

subtest 'the primary dies and the standby is promoted' => sub {
	$primary->safe_psql($db, q{INSERT INTO event SELECT now() - g * interval '37 minutes', g FROM generate_series(1, 50) AS g});
	$primary->wait_for_catchup($standby);
	kill_server($primary);
	$died = $standby->safe_psql($db, 'SELECT clock_timestamp()');
	# Some slots pass while there is no primary.
	wait_for($standby, $db, "SELECT clock_timestamp() > '$died'::timestamptz + interval '2.5 seconds'");
	my $asked = $standby->safe_psql($db, 'SELECT clock_timestamp()');
	$standby->promote;

	my $first = qq{FROM aggjobs.runs WHERE trigger = 'schedule' AND status = 'succeeded' AND started_at > '$died'};
	wait_for($standby, $db, "SELECT EXISTS (SELECT $first)");
	cmp_ok($standby->safe_psql($db, "SELECT extract(epoch FROM min(started_at) - '$asked'::timestamptz) $first"),
		'<', $FIRST_RUN_WITHIN, 'the first slot is run within seconds');
	is(run_field($standby, $db, $run, 'status'), 'crashed', 'the run of the dead primary has crashed');
	my $retry = $standby->safe_psql($db, "SELECT run_id FROM aggjobs.runs WHERE retry_of = $run");
	isnt($retry, '', 'and is tried again');
	wait_for($standby, $db, qq{SELECT EXISTS (SELECT FROM aggjobs.runs
		WHERE run_id IN ($queued, $retry) AND status = 'running')}, 'one of those that wait runs');
	# One after the other, until both have been stopped.
	for (1, 2)
	{
		wait_for($standby, $db, qq{SELECT aggjobs_cancel(run_id) FROM aggjobs.runs
			WHERE run_id IN ($queued, $retry) AND status = 'running'});
	}
	wait_for($standby, $db, "SELECT bool_and(status = 'cancelled') FROM aggjobs.runs WHERE run_id IN ($queued, $retry)");
	pass('and what was queued has had its turn');
	is($standby->safe_psql($db, q{SELECT count(*) FROM effect}), 0, 'nothing is left of what did not end');
};

subtest 'every slot is accounted for' => sub {
	for my $catch_up ('skip', 'last', 'all')
	{
		my $job = "each second $catch_up";

		wait_for($standby, $db, qq{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = '$job'
			AND status = 'succeeded' AND slot > (SELECT max(ended_at) FROM aggjobs.runs WHERE run_id = $run))});
		is(slots_amiss($standby, $db, $job), 0, "catch_up $catch_up: in one row each");
	}
	is( $standby->safe_psql($db, q{SELECT count(*) FROM aggjobs.runs WHERE job_name = 'each second all' AND status = 'missed'}),
		0, 'all: none is missed');
	for my $catch_up ('skip', 'last')
	{
		my ($n, $wrong) = split /\|/, missed_between($standby, "each second $catch_up", $died), -1;

		cmp_ok($n, '>=', 1, "$catch_up: slots have passed");
		is($wrong, '', "$catch_up: all but the last are in one row");
	}
	is(check_invariants($standby, $db), '', 'all is as it should be');
};

subtest 'rollups' => sub {
	is(differences($standby), 0, 'the live view is exact');
	$standby->safe_psql($db, q{INSERT INTO event SELECT now() - g * interval '11 minutes', g FROM generate_series(1, 50) AS g});
	is(differences($standby), 0, 'also after late rows');
	wait_for($standby, $db, q{SELECT stale_ranges = 0 FROM aggjobs.rollups WHERE rollup_name = 'by_hour'}, 'they are computed');
	is(differences($standby), 0, 'and when they are computed');
};

subtest 'the old primary comes back as a standby' => sub {
	# What was killed has to be stopped in order first.
	$primary->start;
	$primary->stop;
	$standby->safe_psql($db, 'CHECKPOINT');
	command_ok(
		[ 'pg_rewind', '--target-pgdata' => $primary->data_dir, '--source-server' => $standby->connstr($db) ],
		'it is rewound');
	# The configuration came with the rest, and with it the other's port.
	$primary->append_conf('postgresql.conf', 'port = ' . $primary->port);
	$primary->enable_streaming($standby);
	$primary->set_standby_mode;
	$primary->start;
	wait_for($primary, $db, q{SELECT pg_is_in_recovery()});
	$standby->wait_for_catchup($primary);
	is(processes($primary), 0, 'and is quiet');
	is(differences($primary), 0, 'with exact live views');
	is(check_invariants($standby, $db), '', 'all is as it should be');
};

$primary->stop;
$standby->stop;
done_testing();
