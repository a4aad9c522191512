# A server that does not preload the library: what needs no workers works, and
# the rest says what to do.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $line = "shared_preload_libraries = 'pg_aggjobs'";
my $node = new_node('not_preloaded', conf => "shared_preload_libraries = ''\n");
$node->start;

subtest 'CREATE EXTENSION' => sub {
	my ($status, $out, $err) =
	  $node->psql('postgres', 'CREATE EXTENSION pg_aggjobs');
	is($status, 0, 'works');
	like($err, qr/^psql:<stdin>:1: WARNING: .*not preloaded/m, 'with a warning');
	like($err, qr/^HINT: .*postgresql\.conf.* \Q$line\E$/m,
		'that names the line to add');
	is(processes_of($node, 'postgres'), 0, 'no process is started');
	is( $node->safe_psql('postgres', q{
			SELECT state || ': ' || detail FROM aggjobs.health
			WHERE check_name = 'scheduler'}) =~ /^failing: .*\Q$line\E/,
		1, 'the health view names the line, too');
};

subtest 'what needs workers' => sub {
	add_job($node, 'postgres', 'work', undef, 'CREATE TABLE worked AS SELECT 1');
	my %calls = (
		'aggjobs_trigger' => q{SELECT aggjobs_trigger('work')},
		'aggjobs_wait' => 'SELECT aggjobs_wait(1)');
	for my $function (sort keys %calls)
	{
		my ($state, $err) = sqlstate_of($node, 'postgres', $calls{$function});
		is($state, '55000', "$function() fails");
		like($err, qr/^HINT: .*shared_preload_libraries.*aggjobs_run/m,
			'with a hint at both ways out');
	}
	is($node->safe_psql('postgres', 'SELECT count(*) FROM aggjobs.runs'),
		0, 'nothing is queued for later');
	my ($state) = sqlstate_of($node, 'postgres',
		q{SELECT aggjobs_trigger('work', dry_run => true)});
	is($state, '', 'a dry run needs none');
};

subtest 'CALL aggjobs_run()' => sub {
	my ($status, $out, $err) =
	  $node->psql('postgres', q{CALL aggjobs_run('work')});
	is($status, 0, 'runs a job in the session');
	like($err, qr/NOTICE:  step 1 of 1/, 'and tells how it goes');
	is($node->safe_psql('postgres', 'SELECT * FROM worked'),
		1, 'its work is done');
	is( $node->safe_psql('postgres',
			q{SELECT status, trigger FROM aggjobs.runs WHERE job_name = 'work'}),
		'succeeded|manual', 'the history knows');
};

subtest 'changes are captured' => sub {
	my $count = q{SELECT coalesce(sum(executions), 0) FROM aggjobs.hourly_analytics};
	my $add = q{
		INSERT INTO aggjobs.execution_spans (span_type, status, started_at)
		VALUES ('agent_run', 'ok', date_trunc('hour', now()) - interval '5 hours')};

	$node->safe_psql('postgres', "$add; CALL aggjobs_run('hourly')");
	is($node->safe_psql('postgres', $count), 1, 'a run computes the hour');
	# In a session that has not loaded the library for any other reason.
	$node->safe_psql('postgres', $add);
	$node->safe_psql('postgres', q{CALL aggjobs_run('hourly')});
	is($node->safe_psql('postgres', $count), 2, 'a late row is found');
	$node->safe_psql('postgres',
		'DELETE FROM aggjobs.execution_spans WHERE span_id = 1');
	$node->safe_psql('postgres', q{CALL aggjobs_run('hourly')});
	is($node->safe_psql('postgres', $count), 1, 'so is a deleted one');
};

subtest 'DROP EXTENSION' => sub {
	$node->safe_psql('postgres', 'DROP EXTENSION pg_aggjobs');
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM pg_namespace WHERE nspname = 'aggjobs'}),
		0, 'works');
};

subtest 'the line from the hint' => sub {
	$node->append_conf('postgresql.conf', $line);
	$node->restart;
	create_extension($node, 'postgres');
	add_job($node, 'postgres', 'work', undef, 'SELECT 1');
	is((run_to_end($node, 'postgres', 'work'))[1],
		'succeeded', 'makes jobs run in the background');
};

$node->stop;
done_testing();
