# What a hostile job tries that only shows in the server's log.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('attacks', conf => "log_line_prefix = 'PREFIX '\n");

subtest 'log injection' => sub {
	my $log = -s $node->logfile;
	my $forged = '2026-01-01 00:00:00 UTC [1] FATAL:  forged';

	$node->safe_psql('postgres', q{
		CREATE ROLE mallory LOGIN;
		SELECT aggjobs_grant('mallory')});
	add_job($node, 'postgres', 'forger', undef, qq{
		DO \$d\$ BEGIN
			RAISE NOTICE E'notice\\nPREFIX $forged\\r\\x1b[2K';
			RAISE WARNING E'warning\\nPREFIX $forged\\r\\x1b[2K';
			RAISE EXCEPTION E'error\\nPREFIX $forged' USING DETAIL = E'detail\\nPREFIX $forged', HINT = E'hint\\nPREFIX $forged';
		END \$d\$}, owner => q{'mallory'});
	my ($run, $status) = run_to_end($node, 'postgres', 'forger');
	is($status, 'failed', 'the run has raised its lines');
	# The words of a role that go into the lines of others: its application_name and settings.
	add_job($node, 'postgres', 'namer', undef, q{SELECT 1}, owner => q{'mallory'},
		settings => qq{jsonb_build_object('application_name', E'x\\nPREFIX $forged')});
	is((run_to_end($node, 'postgres', 'namer'))[1], 'succeeded', 'a run with a setting of several lines');
	is($node->safe_psql('postgres', "SELECT string_agg(level, ',' ORDER BY seq) FROM aggjobs.run_logs WHERE run_id = $run"),
		'NOTICE,WARNING,ERROR', 'each is one line of the run');
	is($node->safe_psql('postgres', "SELECT count(*) FROM aggjobs_logs($run) WHERE level = 'FATAL'"), 0, 'none is forged');

	my @lines = split /\n/, slurp_file($node->logfile, $log);
	ok((grep { /^PREFIX WARNING:  warning/ } @lines) > 0, "the server's log has the warning");
	is((grep { /^PREFIX.*forged/ && !/^PREFIX (LOG:  statement|STATEMENT)/ } @lines), 0, "no line of the server's log is forged");
};

$node->stop;
done_testing();
