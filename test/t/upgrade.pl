# A new library and new scripts while runs go on, in a copy of the installation.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';

# The programs find everything relative to themselves, so that a copy of the tree
# that holds programs, libraries and scripts is an installation.
my %dirs = map { $_ => `pg_config --$_` =~ s/\s+$//r } qw(bindir pkglibdir sharedir);
my $root = $dirs{bindir};
$root =~ s{/[^/]+$}{} until $root eq '' || -e "$root/version";
die "no tree of its own: $dirs{bindir}" if $root eq '';
my $tree = PostgreSQL::Test::Utils::tempdir;
system_or_bail('cp', '-a', "$root/.", $tree);
s/^\Q$root\E/$tree/ for values %dirs;
my $library = "$dirs{pkglibdir}/pg_aggjobs.so";
my $scripts = "$dirs{sharedir}/extension";
ok(-f $library && -f "$scripts/pg_aggjobs.control", 'an installation of its own');

my $node = PostgreSQL::Test::Cluster->new('upgrade', install_path => $dirs{bindir} =~ s{/bin$}{}r);
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_aggjobs'\nmax_worker_processes = 32\n");
$node->start;
create_extension($node, $db);

my $go = "$tree/go";
add_job($node, $db, 'clock', 'every 1 second', 'SELECT 1', catch_up => q{'all'});
add_job($node, $db, 'long', undef, until_file($go), retry_delay => q{'0.1 s'});
$node->safe_psql($db, q{
	CREATE TABLE raw (at timestamptz NOT NULL, v integer);
	INSERT INTO raw VALUES ('2026-01-01 00:10+00', 1);
	SELECT aggjobs_create_rollup('kept', $q$SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$q$, schedule => NULL);
	CALL aggjobs_refresh('kept')});

sub sql { return $node->safe_psql($db, join ';', @_); }

sub health { return sql(q{SELECT state || ': ' || detail FROM aggjobs.health WHERE check_name = 'version'}); }

sub clock_goes_on
{
	my ($when) = @_;
	my $since = sql('SELECT clock_timestamp()');
	wait_for($node, $db, qq{
		SELECT count(*) >= 2 FROM aggjobs.runs
		WHERE job_name = 'clock' AND status = 'succeeded' AND slot > '$since'}, "the clock goes on $when");
	pass("jobs run $when");
	return;
}

sub start_long
{
	unlink $go;
	my $run = trigger($node, $db, 'long');
	wait_in_command($node, $db, $run);
	return $run;
}

sub let_go { append_to_file($go, 'x'); return; }

# Take a script from one version to another.
sub update
{
	my ($from, $to, $script) = @_;
	append_to_file("$scripts/pg_aggjobs--$from--$to.sql", $script);
	sql("ALTER EXTENSION pg_aggjobs UPDATE TO '$to'");
	return;
}

my $version = sql(q{SELECT default_version FROM pg_available_extensions WHERE name = 'pg_aggjobs'});

subtest 'another library' => sub {
	my $run = start_long();
	rename $library, "$library.old" or die "rename: $!";
	append_to_file($library, 'This is no library.');
	let_go();
	is(wait_for_end($node, $db, $run), 'succeeded', 'a run goes on');
	sql('CREATE ROLE somebody LOGIN', q{SELECT aggjobs_grant('somebody')});
	add_job($node, $db, 'others', undef, 'SELECT 1', owner => q{'somebody'});
	is((run_to_end($node, $db, 'others'))[1], 'succeeded', 'a new worker works');
	clock_goes_on('with another library on the disk');
	sql(q{INSERT INTO raw VALUES ('2026-01-01 00:20+00', 2)});
	is(sql('SELECT n FROM kept_live'), 2, 'writes are captured in a new session');
	$node->safe_psql($db, 'CREATE DATABASE other');
	create_extension($node, 'other');
	pass('CREATE EXTENSION works');
	unlink $library;
	rename "$library.old", $library or die "rename: $!";
	is(health(), "ok: version $version", 'both have one version');
};

subtest 'a script that is older than the library' => sub {
	my $run = start_long();
	update($version, '0.0.9', "COMMENT ON TABLE aggjobs.job IS 'older';\n");
	is(run_field($node, $db, $run, q{status || ': ' || note}), 'cancelled: the extension is being updated', 'the run makes way');
	wait_for($node, $db, qq{
		SELECT count(*) = 1 FROM aggjobs.runs WHERE job_name = 'long' AND attempt = 2 AND status = 'running'}, 'it is tried again');
	let_go();
	my ($again) = sql(q{SELECT max(run_id) FROM aggjobs.runs WHERE job_name = 'long'});
	is(wait_for_end($node, $db, $again), 'succeeded', 'and comes to its end');
	clock_goes_on('with the older script');
	is(health(), "degraded: the library has version $version, the extension here 0.0.9: run ALTER EXTENSION pg_aggjobs UPDATE", 'health says what to do');
};

subtest 'a script that is newer' => sub {
	my $logged = -s $node->logfile;
	my $run = start_long();
	update('0.0.9', '0.10.1', "ALTER TABLE aggjobs.job ADD added integer;\n");
	is(run_field($node, $db, $run, 'status'), 'cancelled', 'the run makes way');
	my $told = qr/extension pg_aggjobs has version 0\.10\.1 in this database, but the library that the server has loaded has version \Q$version\E/;
	$node->wait_for_log($told, $logged);
	like(slurp_file($node->logfile, $logged), qr/HINT:  Restart the server/, 'the log says to restart');
	like(health(), qr/^failing: the extension here has version 0\.10\.1.*restart the server$/, 'so does health');
	is(sql(q{SELECT count(*) FROM aggjobs.runs WHERE status = 'running'}), 0, 'nothing runs');
	sql(q{INSERT INTO raw VALUES ('2026-01-01 00:30+00', 3)});
	is(sql('SELECT n FROM kept_live'), 3, 'writes are captured all the same');

	# In place of a library that fits, which there is not yet.
	let_go();
	update('0.10.1', $version, "ALTER TABLE aggjobs.job DROP added;\n");
	wait_for($node, $db, q{
		SELECT status = 'succeeded' FROM aggjobs.runs WHERE job_name = 'long' ORDER BY run_id DESC LIMIT 1}, 'the run is tried again');
	clock_goes_on('when the versions fit');
	is(sql(q{
		SELECT count(*) FROM (SELECT slot - lag(slot) OVER (ORDER BY slot) AS gap FROM aggjobs.runs
			WHERE job_name = 'clock' AND status = 'succeeded' AND attempt = 1) AS g WHERE gap <> interval '1 second'}),
		0, 'no slot was lost in all this');
	is(health(), "ok: version $version", 'health is content');
};

is(check_invariants($node, $db), q{}, q{the records are true});
$node->stop;
done_testing();
