# Slots that passed while nothing was at work: schedules of each kind, with each
# policy, over a time in which aggjobs.enabled was off, a restart and a
# promotion.  What is run, and what is recorded as missed, is known exactly: the
# clock is the test's.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $node = start_node('first', streaming => 1);

install_testing($node, $db);

sub at { return set_time($node, $db, @_); }

sub ask
{
	my ($sql) = @_;

	return $node->safe_psql($db, $sql);
}

sub settle { return wait_until_settled($node, $db); }

# What is told of all jobs: their rows as one text, "slot status slots until", the
# last slot that is recorded, and what is due next.
sub told
{
	my %told = map { my ($job, @columns) = split /\|/, $_, -1; ($job => \@columns) } split /\n/, ask(q{
		SELECT j.job_name,
			string_agg(concat_ws(' ', to_char(slot, 'HH24:MI'), r.status,
				nullif(slots, 1), to_char(until_slot, 'HH24:MI')), ', ' ORDER BY r.run_id),
			to_char(max(coalesce(until_slot, slot)), 'HH24:MI'), to_char(min(j.next_run_at), 'HH24:MI:SS')
		FROM aggjobs.jobs j LEFT JOIN aggjobs.runs r USING (job_name) GROUP BY 1});

	return \%told;
}

# Each kind of schedule has passed the slots from 00:20 to 01:00 at 01:05, but
# for those that have but one: "at" 00:30, and "after" 00:10:30.  What is due
# next is ten minutes after the last slot, or after 01:05.
my %SKIP = (catch_up => q{'skip'});
my %LAST = ();
my %ALL = (catch_up => q{'all'});
my @GRID = (
	[ 'skip', {%SKIP}, '00:10 succeeded, 00:20 missed 5 01:00', 'none is run late' ],
	[ 'skip, with a deadline', { %SKIP, start_deadline => q{'6 minutes'} },
		'00:10 succeeded, 00:20 missed 4 00:50, 01:00 succeeded', 'what is within it is not late' ],
	[ 'last', {%LAST}, '00:10 succeeded, 00:20 missed 4 00:50, 01:00 succeeded', 'the last one is run' ],
	[ 'last, with a deadline', { %LAST, start_deadline => q{'1 minute'} },
		'00:10 succeeded, 00:20 missed 5 01:00', 'none is if it is too old' ],
	[ 'all', {%ALL},
		'00:10 succeeded, 00:20 succeeded, 00:30 succeeded, 00:40 succeeded, 00:50 succeeded, 01:00 succeeded', 'all are run' ],
	[ 'all, with a limit', { %ALL, catch_up_limit => 2 },
		'00:10 succeeded, 00:20 missed 3 00:40, 00:50 succeeded, 01:00 succeeded', 'the newest' ],
	[ 'all, with a deadline', { %ALL, start_deadline => q{'15 minutes'} },
		'00:10 succeeded, 00:20 missed 3 00:40, 00:50 succeeded, 01:00 succeeded', 'those that are not too old' ]);
my @SINGLE = (
	[ 'skip', {%SKIP}, 'missed' ],
	[ 'skip, with a deadline', { %SKIP, start_deadline => q{'1 hour'} }, 'succeeded' ],
	[ 'last', {%LAST}, 'succeeded' ],
	[ 'last, with a deadline', { %LAST, start_deadline => q{'1 minute'} }, 'missed' ],
	[ 'all', {%ALL}, 'succeeded' ],
	[ 'all, with a deadline', { %ALL, start_deadline => q{'1 minute'} }, 'missed' ]);

# name, schedule, arguments, rows after it, what they show, what is due next
my @JOBS = (
	(map { my ($name, $args, $rows, $what) = @$_; [ "cron $name", '*/10 * * * *', $args, $rows, $what, '01:10:00' ] } @GRID),
	(map { my ($name, $args, $rows, $what) = @$_; [ "every $name", 'every 10 minutes', $args, $rows, $what, '01:10:00' ] } @GRID),
	(map { my ($name, $args, $fate) = @$_; [ "at $name", 'at 2030-01-01 00:30', $args, "00:30 $fate", 'the only one', '' ] } @SINGLE),
	(map { my ($name, $args, $fate) = @$_;
			[ "after $name", 'after 10 minutes', $args, "00:00 succeeded, 00:10 $fate", 'and the next is counted from here', '01:15:00' ] } @SINGLE));

# These have the time at which the server was started, by its own clock.
my @START = map { my ($name, $args, $fate) = @$_; [ "start $name", '@start', $args, $fate ] }
  grep { $_->[0] ne 'skip, with a deadline' } @SINGLE;

# All at once, as there are many.
sub make_jobs
{
	ask(join ';', map {
		my ($name, $schedule, $args) = @$_;
		qq{SELECT aggjobs_create_job('$name', '$schedule', '[{"kind": "command", "command": "SELECT 1"}]'}
		  . join('', map { ", $_ => $args->{$_}" } sort keys %$args) . ')'
	} @_);
	return;
}

# How nothing is at work until the clock shows 01:05.
sub disable
{
	set_enabled($node, 'off');
	at('01:05:00');
	set_enabled($node, 'on');
	return;
}

sub restart
{
	set_enabled($node, 'off');
	$node->restart;
	at('01:05:00');
	set_enabled($node, 'on');
	return;
}

sub promote
{
	my $standby = PostgreSQL::Test::Cluster->new('second');

	$node->backup('base');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	$standby->start;
	$node->wait_for_catchup($standby);
	kill_server($node);
	$node = $standby;
	at('01:05:00');
	$node->promote;
	return;
}

my @WAYS = (
	[ 'aggjobs.enabled', \&disable, 0 ],
	[ 'a restart', \&restart, 1 ],
	[ 'a promotion', \&promote, 1 ]);

for my $way (@WAYS)
{
	my ($name, $happen, $is_start) = @$way;

	subtest $name => sub {
		at('00:00:30');
		make_jobs(@JOBS, @START);
		settle();
		at('00:10:00');
		settle();
		$happen->();
		settle();
		my $told = told();
		for my $job (@JOBS)
		{
			my ($name, undef, undef, $rows, $what, $next) = @$job;

			is($told->{$name}[0], $rows, "$name: $what");
			is($told->{$name}[2], $next, "$name: what is due next");
		}
		for my $job (@START)
		{
			like($told->{ $job->[0] }[0], $is_start ? qr/^\d\d:\d\d $job->[3]$/ : qr/^$/, "$job->[0], once");
		}
		is( ask(q{SELECT string_agg(DISTINCT note, '; ' ORDER BY note) FROM aggjobs.runs WHERE status = 'missed'}),
			'not run in time, and catch_up is "all"; not run in time, and catch_up is "last"; not run in time, and catch_up is "skip"',
			'the reason is told');
		is( ask(q{SELECT bool_and(started_at >= before) FROM (SELECT started_at,
				lag(ended_at) OVER (ORDER BY slot) AS before FROM aggjobs.runs WHERE job_name = 'cron all') AS r WHERE before IS NOT NULL}),
			't', 'all: in order, one after the other');

		# It goes on as if nothing had been.
		at('01:15:00');
		settle();
		$told = told();
		for my $job (grep { $_->[5] ne '' } @JOBS)
		{
			is($told->{ $job->[0] }[1], substr($job->[5], 0, 5), "$job->[0]: the next slot is recorded");
		}
		is(check_invariants($node, $db), '', 'all is as it should be');
		ask('SELECT aggjobs_drop_job(job_name) FROM aggjobs.jobs; DELETE FROM aggjobs.run');
	};
}

# The next slot of an "after" schedule is counted from a run.  A slot that comes to
# none, or to the run of somebody else, must not be the last.
subtest 'after: what is not run does not stop the clock' => sub {
	my $planned = sub {
		my ($what) = @_;

		wait_for($node, $db, q{SELECT next_run_at = testing.now() + interval '10 minutes' FROM aggjobs.jobs WHERE job_name = 'pause'}, $what);
		pass("$what: the pause begins anew");
		return;
	};
	my $gate = $node->background_psql($db);

	at('02:00:00');
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	ask(q{SELECT aggjobs_set_queue('one', 1)});
	add_job($node, $db, 'holder', undef, 'SELECT pg_advisory_xact_lock_shared(1)', queue => q{'one'});
	wait_in_command($node, $db, trigger($node, $db, 'holder'));
	add_job($node, $db, 'pause', 'after 10 minutes', 'SELECT pg_advisory_xact_lock_shared(2)', queue => q{'one'}, start_deadline => q{'3 minutes'});
	wait_for($node, $db, q{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'pause' AND status = 'queued')});
	at('02:03:01');
	wait_for($node, $db, q{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'pause' AND status = 'missed')});
	$planned->('a slot that found no worker in time');

	at('02:13:01');
	wait_for($node, $db, q{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'pause' AND status = 'queued')});
	ask(q{SELECT aggjobs_cancel(run_id) FROM aggjobs.runs WHERE job_name = 'pause' AND status = 'queued'});
	$planned->('a queued run that is cancelled');
	$gate->query_safe('SELECT pg_advisory_unlock(1)');

	# Two that run it in their session, while a slot comes: one ends, one dies.
	for my $way ('ends', 'dies')
	{
		my $session = $node->background_psql($db, on_error_stop => 0);

		$gate->query_safe('SELECT pg_advisory_lock(2)');
		$session->query_until(qr/called/, "\\echo called\nCALL aggjobs_run('pause');\n");
		wait_for($node, $db, q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CALL aggjobs_run%' AND wait_event = 'advisory')});
		my $slots = ask(q{SELECT count(*) FROM aggjobs.runs WHERE job_name = 'pause' AND status = 'skipped'});
		set_clock($node, $db, ask(q{SELECT next_run_at FROM aggjobs.jobs WHERE job_name = 'pause'}));
		wait_for($node, $db, qq{SELECT count(*) > $slots FROM aggjobs.runs WHERE job_name = 'pause' AND status = 'skipped'});
		if ($way eq 'dies')
		{
			ask(q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query LIKE 'CALL aggjobs_run%'});
			# It is given some time to be gone.
			set_clock($node, $db, ask(q{SELECT testing.now() + interval '1 second'}));
		}
		$gate->query_safe('SELECT pg_advisory_unlock(2)');
		$planned->("a slot that met CALL aggjobs_run(), which $way");
		eval { $session->quit };
	}
	$gate->quit;
	settle();
	is(check_invariants($node, $db), '', 'all is as it should be');
};

$node->stop;
done_testing();
