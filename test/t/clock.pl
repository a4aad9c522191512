# Somebody sets the clock of the machine, and tells nobody; new rules of time
# zones are installed.
use strict;
use warnings;

use AggjobsTest;
use File::Temp;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $zones = File::Temp->newdir();
$ENV{AGGJOBS_TEST_ZONES} = "$zones";
utime 1, 1000, "$zones" or die "utime: $!";

my $node = start_node('clock', conf => <<'CONF');
aggjobs.cancel_grace = 1s
CONF
my $db = 'postgres';
install_testing($node, $db);

# The clock shows an instant and runs on; our processes sleep on.
sub set_by_hand
{
	my ($at) = @_;

	set_clock($node, $db, $at, 1, 1);
	return;
}

subtest 'forward: a job that was far off is run within seconds' => sub {
	set_clock($node, $db, '2030-01-01 12:00:00+00', 1);
	add_job($node, $db, 'nightly', '@daily', 'SELECT 1');
	wait_for_scheduler($node, $db);
	set_by_hand('2030-01-02 00:00:01+00');
	wait_for($node, $db, q{
		SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'nightly'
			AND slot = '2030-01-02 00:00+00' AND status = 'succeeded')}, 'it ran');
	pass('it ran');
	$node->safe_psql($db, q{SELECT aggjobs_drop_job('nightly')});
};

subtest 'back: a run that is to stop is ended in time' => sub {
	set_clock($node, $db, '2030-01-01 12:00:00+00', 1);
	add_job($node, $db, 'stubborn', undef, $STUBBORN);
	my $run = trigger($node, $db, 'stubborn');
	wait_in_command($node, $db, $run);
	$node->safe_psql($db, qq{
		SELECT aggjobs_cancel($run), testing.clock('2030-01-01 11:00+00', true, false)});
	is(wait_for_end($node, $db, $run), 'cancelled', 'it is over');
	$node->safe_psql($db, q{SELECT aggjobs_drop_job('stubborn')});
};

subtest 'back: the pause after an error is not longer' => sub {
	set_clock($node, $db, '2030-01-01 12:00:00+00', 1);
	add_job($node, $db, 'plain', undef, 'SELECT 1');
	wait_for_scheduler($node, $db);
	my $point = 'scheduler before commit: look for queued runs';
	arm($node, $db, $point, 'error', times => 3);
	my $run = trigger($node, $db, 'plain');
	wait_for($node, $db, "SELECT testing.hits('$point') >= 3", 'the third error');
	set_by_hand('2030-01-01 11:00+00');
	is(wait_for_end($node, $db, $run), 'succeeded', 'a run goes on');
	release($node, $db, $point);
};

subtest 'back: a scheduler that died often is started again' => sub {
	set_clock($node, $db, '2030-01-01 12:00:00+00', 1);
	my $point = 'scheduler at: connected';
	arm($node, $db, $point, 'fatal', times => 5);
	$node->safe_psql($db, 'SELECT pg_terminate_backend(' . scheduler_pid($node, $db) . ')');
	wait_for($node, $db, "SELECT testing.hits('$point') >= 5", 'the last death');
	set_by_hand('2030-01-01 11:00+00');
	wait_for_scheduler($node, $db);
	pass('it is there');
	release($node, $db, $point);
	set_clock($node, $db, undef);
};

subtest 'a stop of the server does not wait for the pause after an error' => sub {
	set_clock($node, $db, '2030-01-01 12:00:00+00');
	wait_for_scheduler($node, $db);
	my $logged = -s $node->logfile;
	# The clock stands, and the pause with it.
	arm($node, $db, 'scheduler before commit: look for queued runs', 'error', times => -1);
	trigger($node, $db, 'plain');
	$node->wait_for_log(qr/ERROR:  fault point/, $logged);
	is($node->stop('fast', fail_ok => 1), 1, 'it stops');
	$node->start;
	wait_for_scheduler($node, $db);
	wait_for($node, $db, q{SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE status IN ('queued', 'running'))}, 'all is done');
};

# Zone files are installed, and the server told to read its configuration.
sub install_zones
{
	my ($when) = @_;
	my $before = scheduler_pid($node, $db);

	utime 1, $when, "$zones" or die "utime: $!";
	$node->reload;
	wait_for($node, $db, qq{
		SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_aggjobs scheduler'
			AND datname = '$db' AND pid <> $before)}, 'there is another scheduler');
	wait_for_scheduler($node, $db);
	return;
}

subtest 'new rules of a time zone' => sub {
	set_clock($node, $db, '2030-01-01 12:00:00+00', 1);
	add_job($node, $db, 'in berlin', '30 2 * * *', 'SELECT 1', time_zone => q{'Europe/Berlin'});
	# The server's clock says when a job was made, not the test's.
	$node->safe_psql($db, q{UPDATE aggjobs.job SET changed_at = testing.now() WHERE job_name = 'in berlin'});
	add_job($node, $db, 'every hour', 'every 1 hour', 'SELECT 1');
	my $slots = q{SELECT string_agg(to_char(next_run_at, 'DD HH24:MI'), ', ' ORDER BY job_name) FROM aggjobs.jobs WHERE schedule IS NOT NULL};
	is($node->safe_psql($db, $slots), '01 13:00, 02 01:30', 'planned');
	wait_for_scheduler($node, $db);

	my $before = scheduler_pid($node, $db);
	set_enabled($node, 'off');
	set_enabled($node, 'on');
	is(scheduler_pid($node, $db), $before, 'a reload alone ends no scheduler');

	# as other rules had it
	my $by_other_rules = q{UPDATE aggjobs.job_state SET next_slot = next_slot + interval '1 hour' WHERE next_slot = '2030-01-02 01:30+00'};
	$node->safe_psql($db, $by_other_rules);
	my $logged = -s $node->logfile;
	install_zones(2000);
	is($node->safe_psql($db, $slots), '01 13:00, 02 01:30', 'the slot is where the rules have it now');
	my $log = slurp_file($node->logfile, $logged);
	like($log, qr/LOG:  time zone files were installed/, 'the log says why');
	like($log, qr/LOG:  the next slot of job \d+ is 2030-01-02 01:30:00\S*, no longer 2030-01-02 02:30:00\S*, by the rules of time zone "Europe\/Berlin"/, 'and what');

	# one that has passed by the new rules
	$node->safe_psql($db, $by_other_rules);
	set_enabled($node, 'off');
	set_clock($node, $db, '2030-01-02 02:00+00', 1);
	utime 1, 3000, "$zones" or die "utime: $!";
	set_enabled($node, 'on');
	wait_for($node, $db, q{
		SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'in berlin' AND status = 'succeeded')}, 'it is run');
	is($node->safe_psql($db, q{SELECT string_agg(slot || ' ' || status, ', ') FROM aggjobs.runs WHERE job_name = 'in berlin'}),
		'2030-01-02 01:30:00+00 succeeded', 'a slot that has passed is run late');
	is($node->safe_psql($db, q{SELECT to_char(next_run_at, 'DD HH24:MI') FROM aggjobs.jobs WHERE job_name = 'in berlin'}), '03 01:30', 'and the next follows');
};

is(check_invariants($node, $db), q{}, 'the records are true');
$node->stop;
done_testing();
