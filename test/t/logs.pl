# Messages of runs: readable while the run goes on, all of them, in order, and
# bounded.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $KEPT = 300;
my $FLOOD = 5000;

# The commit times of log lines tell when they could be read.
my $node = start_node('logs',
	conf => "track_commit_timestamp = on\naggjobs.log_lines = $KEPT\n");
my $gate = $node->background_psql('postgres');

sub add_function_job
{
	my ($name, $body) = @_;

	$node->safe_psql('postgres', qq{
		CREATE FUNCTION $name() RETURNS void LANGUAGE plpgsql AS \$f\$
		DECLARE failing int := 0;
		BEGIN $body END \$f\$});
	add_job($node, 'postgres', $name, undef, "SELECT $name()");
	return;
}

sub log_field
{
	my ($run, $expression) = @_;
	return $node->safe_psql('postgres',
		"SELECT $expression FROM aggjobs.run_logs WHERE run_id = $run");
}

subtest 'lines are readable while the run goes on' => sub {
	add_function_job('live', q{
		RAISE NOTICE 'line %', 1;
		RAISE WARNING 'line %', 2;
		PERFORM pg_advisory_xact_lock_shared(1);
		FOR i IN 3 .. 50 LOOP RAISE NOTICE 'line %', i; END LOOP;});
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $run = trigger($node, 'postgres', 'live');
	wait_in_command($node, 'postgres', $run);
	wait_for($node, 'postgres',
		"SELECT count(*) = 2 FROM aggjobs.run_logs WHERE run_id = $run");

	is(run_field($node, 'postgres', $run, 'status'),
		'running', 'the run goes on');
	is( log_field($run, q{string_agg(level || ' ' || message, ', ' ORDER BY seq)}),
		'NOTICE line 1, WARNING line 2',
		'the lines are there, with their levels');
	cmp_ok(
		$node->safe_psql('postgres', qq{
			SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin) - logged_at))
			FROM aggjobs.run_log WHERE run_id = $run}),
		'<', 1, 'each was stored within a second');

	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	is(wait_for_end($node, 'postgres', $run), 'succeeded', 'the run ends');
	is( log_field($run, 'array_agg(message ORDER BY seq)'),
		'{' . join(',', map { qq{"line $_"} } 1 .. 50) . '}',
		'in the end all lines are there once, in order');
	is( $node->safe_psql('postgres', qq{
			SELECT bool_and(seq = n AND logged_at >= before)
			FROM (SELECT seq, logged_at, row_number() OVER w AS n,
					lag(logged_at, 1, logged_at) OVER w AS before
				FROM aggjobs.run_logs WHERE run_id = $run
				WINDOW w AS (ORDER BY seq)) AS lines}),
		't', 'numbered from 1, in the order of time');
	is(run_field($node, 'postgres', $run, 'log_lines || 0::text || log_dropped'),
		'5000', 'the run counts 50 lines, and none dropped');
};

subtest 'a flood is counted, not kept' => sub {
	add_function_job('flood', qq{
		FOR i IN 1 .. $FLOOD LOOP RAISE NOTICE 'flood no. %', i; END LOOP;});
	my ($run, $status) = run_to_end($node, 'postgres', 'flood');

	is($status, 'succeeded', 'the run succeeds');
	is( log_field($run, q{format('%s %s %s', count(*), min(message), max(seq))}),
		"$KEPT flood no. 1 $KEPT", 'aggjobs.log_lines of them are kept');
	is( run_field($node, 'postgres', $run, q{format('%s %s', log_lines, log_dropped)}),
		"$KEPT " . ($FLOOD - $KEPT), 'the rest is counted');
};

subtest 'a long message is clipped between two characters' => sub {
	# Of two, three and four bytes, at all offsets.
	add_function_job('long', q{
		FOR i IN 1 .. 3 LOOP
			FOR pad IN 0 .. 3 LOOP
				RAISE NOTICE '%', repeat('x', pad)
					|| repeat(chr((ARRAY[233, 8364, 128512])[i]), 3000);
			END LOOP;
		END LOOP;});
	my ($run, $status) = run_to_end($node, 'postgres', 'long');

	is($status, 'succeeded', 'the run succeeds');
	is(log_field($run, 'count(*)'), 12, 'all lines are kept');
	is( log_field($run, q{bool_and(message ~ '^x{0,3}(.)\1*$')}),
		't', 'they are whole characters of the message');
	is( log_field($run, q{bool_and(octet_length(message) BETWEEN 2044 AND 2048)}),
		't', 'and as many of them as fit into 2 kB');
};

subtest 'lines survive a run that fails' => sub {
	add_function_job('fails', q{
		RAISE NOTICE 'before the error';
		PERFORM 1 / failing;});
	my ($run, $status) = run_to_end($node, 'postgres', 'fails');

	is($status, 'failed', 'the run fails');
	is( log_field($run, q{string_agg(message, ', ' ORDER BY seq)}),
		'before the error, division by zero',
		'its lines are there, the error last');
};

subtest 'lines survive a worker that is ended' => sub {
	add_function_job('ended', q{
		RAISE NOTICE 'before the end';
		PERFORM pg_advisory_xact_lock_shared(1);});
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $run = trigger($node, 'postgres', 'ended');
	my $worker = wait_in_command($node, 'postgres', $run);
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
	is(wait_for_end($node, 'postgres', $run), 'cancelled', 'the run ends');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	like(log_field($run, q{string_agg(message, ', ' ORDER BY seq)}),
		qr/^before the end/, 'its lines are there');
};

subtest "the server's log keeps its own level" => sub {
	# Statements are logged here, with the format of each message; the text
	# that a message has in the end comes from the run alone.
	my $log = slurp_file($node->logfile);
	like($log, qr/WARNING:  line 2/, 'a warning is in it');
	like($log, qr/ERROR:  division by zero/, 'so is an error');
	unlike($log, qr/flood no\. [0-9]/, 'a notice is not');
	unlike($log, qr/before the (error|end)$/m, 'nor is any other');
};

leave($gate);

# As levels of log_min_messages these keep all but LOG out, or that as well.
add_function_job('levels', q{
	RAISE NOTICE 'level %', 1;
	RAISE WARNING 'level %', 2;
	RAISE LOG 'level %', 3;});
for my $level ('log', 'fatal')
{
	subtest "log_min_messages = $level" => sub {
		$node->append_conf('postgresql.conf', "log_min_messages = $level\n");
		$node->restart;
		wait_for_scheduler($node, 'postgres');
		my $before = -s $node->logfile;
		my ($run) = run_to_end($node, 'postgres', 'levels');
		is( log_field($run, q{string_agg(level || ' ' || message, ', ' ORDER BY seq)}),
			'NOTICE level 1, WARNING level 2', 'lines are kept');
		my $log = slurp_file($node->logfile, $before);
		is( join(', ', $log =~ /(\w+:  level \d)/g),
			$level eq 'log' ? 'LOG:  level 3' : '',
			"the server's log keeps its own level");
	};
}

$node->stop;
done_testing();
