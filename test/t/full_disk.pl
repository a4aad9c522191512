# A full disk, for data and for the write-ahead log.  Needs a small file system of
# its own (AGGJOBS_SMALL_DISK), which ./dev test mounts.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $disk = $ENV{AGGJOBS_SMALL_DISK};
plan skip_all => 'no small disk' if !$disk;

my $db = 'postgres';
my $filler = "$disk/filler";

my $node = PostgreSQL::Test::Cluster->new('full_disk');
$node->init(extra => [ '--encoding=UTF8', '--no-locale', '--wal-segsize=1', "--waldir=$disk/wal" ]);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_aggjobs'
max_worker_processes = 16
autovacuum = off
min_wal_size = 2MB
max_wal_size = 8MB
wal_level = replica
max_wal_senders = 0
restart_after_crash = off
CONF
$node->start;
create_extension($node, $db);
mkdir "$disk/data" or die;
$node->safe_psql($db, "CREATE TABLESPACE small LOCATION '$disk/data'");
$node->safe_psql($db, 'CREATE UNLOGGED TABLE pile (i int, t text) TABLESPACE small; CREATE TABLE other (i int)');

# Write until nothing goes any more; a little is left where "rest" bytes are.
sub fill
{
	my ($rest) = @_;
	my $block = 'x' x 65536;

	open my $handle, '>', $filler or die;
	while (syswrite($handle, $block)) { }
	truncate($handle, (-s $filler) - $rest) if $rest;
	close $handle;
	return;
}

subtest 'no room for data' => sub {
	add_job($node, $db, 'piles', undef, q{INSERT INTO pile SELECT g, repeat('x', 100) FROM generate_series(1, 200000) AS g}, retries => 0);
	add_job($node, $db, 'other', 'every 1 second', 'INSERT INTO other VALUES (1)');
	fill(8 * 1024 * 1024);
	my ($run, $status) = run_to_end($node, $db, 'piles');
	is($status, 'failed', 'a run that needs more fails');
	is(run_field($node, $db, $run, 'sqlstate'), '53100', 'with disk_full');
	like(run_field($node, $db, $run, 'error'), qr/No space left on device|could not extend/, 'and the words of the server');
	is($node->safe_psql($db, 'SELECT count(*) FROM pile'), 0, 'nothing of it is left');
	wait_for($node, $db, qq{SELECT count(*) > 1 FROM aggjobs.runs
		WHERE job_name = 'other' AND status = 'succeeded' AND started_at > (SELECT ended_at FROM aggjobs.runs WHERE run_id = $run)},
		'other jobs go on');
	unlink $filler;
	is((run_to_end($node, $db, 'piles'))[1], 'succeeded', 'with room again it succeeds');
	$node->safe_psql($db, 'TRUNCATE pile; CHECKPOINT');
};

subtest 'no room for the write-ahead log' => sub {
	my $file = $node->basedir . '/go';
	add_job($node, $db, 'held', undef, until_file($file));
	add_job($node, $db, 'writes', undef, q{INSERT INTO other SELECT g FROM generate_series(1, 1000000) AS g}, retries => 0);
	my $held = trigger($node, $db, 'held');
	wait_in_command($node, $db, $held);
	my $since = -s $node->logfile;
	fill(0);
	my $writes = trigger($node, $db, 'writes');
	for (1 .. 3000)
	{
		last if slurp_file($node->logfile, $since) =~ /PANIC:.*No space left on device/;
		select undef, undef, undef, 0.01;
	}
	ok($node->log_contains(qr/PANIC:.*No space left on device/, $since), 'the server gives up, as it must');
	# Its postmaster ends after all others.
	my $pidfile = $node->data_dir . '/postmaster.pid';
	for (1 .. 3000) { last if !-e $pidfile; select undef, undef, undef, 0.01; }
	$node->_update_pid(0);
	unlink $filler;
	$node->start;
	wait_for_scheduler($node, $db);
	wait_for($node, $db, "SELECT status = 'crashed' FROM aggjobs.runs WHERE run_id = $writes");
	pass('with room again, the run that filled it has crashed');
	is(run_field($node, $db, $held, 'status'), 'crashed', 'and one that went on');
	wait_for($node, $db, q{SELECT count(*) > 1 FROM aggjobs.runs
		WHERE job_name = 'other' AND status = 'succeeded' AND started_at > pg_postmaster_start_time()}, 'other jobs go on');
	open my $handle, '>', $file or die;
	close $handle;
	wait_for($node, $db, qq{SELECT status = 'succeeded' FROM aggjobs.runs WHERE retry_of = $held});
	pass('it is tried again');
	$node->safe_psql($db, 'SELECT aggjobs_pause(NULL)');
	wait_for($node, $db, q{SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE status IN ('queued', 'running'))});
	is(check_invariants($node, $db), '', 'all is as it should be');
};

# Until there is no room for a change of this run.  A snapshot must keep the old
# versions of its row, as their room would be used again.
sub fill_records
{
	my ($run) = @_;
	my $update = "UPDATE aggjobs.run SET note = note WHERE run_id = $run;\n";

	fill(0);
	my ($state) = sqlstate_of($node, $db, $update x 1000);
	is($state, '53100', 'no run can be changed any more');
	return;
}

# How often the log has an error of this activity.
sub told
{
	my ($what, $since) = @_;
	my $times = () = slurp_file($node->logfile, $since) =~ /STATEMENT:  $what/g;

	return $times;
}

subtest 'no room for our own records' => sub {
	my $file = $node->basedir . '/end';
	my $wal = $node->data_dir . '/pg_wal';
	my $rolled_back = q{(SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database())};

	# The write-ahead log has other room.
	$node->stop;
	unlink $wal;
	system_or_bail('cp', '-R', "$disk/wal", $wal);
	$node->start;
	$node->safe_psql($db, 'TRUNCATE aggjobs.run_log');
	$node->safe_psql($db, qq{ALTER $_ SET TABLESPACE small}) for split /\n/, $node->safe_psql($db, q{
		SELECT CASE relkind WHEN 'i' THEN 'INDEX ' ELSE 'TABLE ' END || oid::regclass FROM pg_class
		WHERE oid IN ('aggjobs.run'::regclass, 'aggjobs.run_log'::regclass)
			OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN ('aggjobs.run'::regclass, 'aggjobs.run_log'::regclass))});
	add_job($node, $db, 'ends', undef, until_file($file) =~ s/END LOOP; END/END LOOP; RAISE NOTICE ''over''; END/r, retries => 0);
	add_job($node, $db, 'slots', 'every 1 second', 'SELECT 1', enabled => 'false');
	my $old = $node->background_psql($db);
	$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	my $run = trigger($node, $db, 'ends');
	wait_in_command($node, $db, $run);
	my $since = -s $node->logfile;
	fill_records($run);

	# It ends, and this can't be written: neither by its worker nor by the scheduler.
	open my $handle, '>', $file or die;
	close $handle;
	$node->wait_for_log(qr/STATEMENT:  end a run/, $since);

	# Of its end and of its line, three times.
	my $before = $node->safe_psql($db, "SELECT $rolled_back");
	my $seconds = seconds_for(sub { wait_for($node, $db, "SELECT $rolled_back >= $before + 6", 'it was tried again') });
	cmp_ok($seconds, '>', 1.5, 'it is tried once a second');
	is(told($_, $since), 1, "'$_': the log tells of it once") for 'end a run', 'store log lines';
	is(run_field($node, $db, $run, 'status'), 'running', 'meanwhile it is as it was');

	# A slot comes, and can't be written down either.
	$node->safe_psql($db, q{SELECT aggjobs_resume('slots')});
	my $first = qr/STATEMENT:  record slots/;
	$node->wait_for_log($first, $since);
	$seconds = seconds_for(sub { $node->wait_for_log(qr/$first.*$first/s, $since) });
	cmp_ok($seconds, '>', 0.8, 'nor is that tried all the time');
	is(told('end a run', $since), 1, 'the end of the run is not told again');

	leave($old);
	unlink $filler;
	wait_for($node, $db, "SELECT status = 'crashed' AND ended_at IS NOT NULL FROM aggjobs.runs WHERE run_id = $run");
	pass('with room again, the end of the run is written down');
	is($node->safe_psql($db, "SELECT message FROM aggjobs.run_logs WHERE run_id = $run ORDER BY seq LIMIT 1"), 'over', 'and what it said');
	wait_for($node, $db, q{SELECT bool_or(status = 'succeeded') FROM aggjobs.runs WHERE job_name = 'slots'});
	is(slots_amiss($node, $db, 'slots'), 0, 'slots go on, and each is in one row');
	is((run_to_end($node, $db, 'ends'))[1], 'succeeded', 'the next run works');
	$node->safe_psql($db, 'SELECT aggjobs_pause(NULL)');
	wait_for($node, $db, q{SELECT NOT EXISTS (SELECT FROM aggjobs.runs WHERE status IN ('queued', 'running'))});
	is(check_invariants($node, $db), '', 'all is as it should be');
};

$node->stop;
done_testing();
