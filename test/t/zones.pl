# The scheduler itself over changes of clocks: each slot in just one row, in every
# zone over five years in one step, and step by step through the hours around.
# Which slots there are is up to aggjobs_preview_schedule(), which test/oracle
# compares with a scan of every minute.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('zones');
my $db = 'postgres';
install_testing($node, $db);

sub sql { return $node->safe_psql($db, join ';', @_); }

# The clock stands still at an instant, and all slots up to it are told.
sub at
{
	my ($instant) = @_;

	set_clock($node, $db, $instant);
	wait_for_scheduler($node, $db);
	wait_until_settled($node, $db);
	return;
}

sub make_jobs
{
	my ($rows, $catch_up) = @_;

	return sql(qq{
		SELECT count(aggjobs_create_job(zone || ' ' || schedule, schedule, '[{"kind": "command", "command": "SELECT 1"}]',
			time_zone => zone, catch_up => '$catch_up', catch_up_limit => 1, overlap => 'queue'))
		FROM ($rows) AS r (zone, schedule)});
}

sub start_anew
{
	sql('SELECT count(aggjobs_drop_job(job_name)) FROM aggjobs.jobs', 'DELETE FROM aggjobs.run');
	return;
}

subtest 'every zone, five years in one step' => sub {
	at('2030-01-01 00:00+00');
	my $zones = make_jobs(q{SELECT name, '30 2 * * *' FROM pg_timezone_names WHERE name !~ '^(posix|right)'}, 'skip');
	cmp_ok($zones, '>', 300, 'there are zones');
	at('2035-01-01 00:00+00');
	is(sql(q{
		SELECT count(*) FROM (
			SELECT j.job_name, (SELECT ROW(sum(r.slots)::bigint, min(r.slot), max(coalesce(r.until_slot, r.slot)))
			                    FROM aggjobs.runs r WHERE r.job_name = j.job_name) AS told,
			       (SELECT ROW(count(*), min(p), max(p))
			        FROM aggjobs_preview_schedule(j.schedule, j.time_zone, 10000, '2030-01-01 00:00+00') AS p
			        WHERE p <= '2035-01-01 00:00+00') AS planned
			FROM aggjobs.jobs j) AS c WHERE told IS DISTINCT FROM planned}), 0, 'all slots are told, none twice');
	is(sql(q{SELECT count(*) FROM aggjobs.runs WHERE status <> 'missed'}), 0, 'none is run late');
	start_anew();
};

# Clocks that go by an hour, by half an hour, and against the sun.
my @zones = ('Europe/Berlin', 'Australia/Lord_Howe', 'America/Santiago');
my @schedules = ('*/30 * * * *', '30 2 * * *', '15 0,1,2 * * *', '45 1-3/2 * * *');

# The instants of a year at which the clock of a zone changes.
sub changes_of
{
	my ($zone) = @_;

	return split /\n/, sql(qq{
		SELECT at FROM (
			SELECT at, at AT TIME ZONE '$zone' - at AT TIME ZONE 'UTC' AS is_off,
			       lag(at AT TIME ZONE '$zone' - at AT TIME ZONE 'UTC') OVER (ORDER BY at) AS was_off
			FROM generate_series('2030-01-02 00:00+00'::timestamptz, '2030-12-30 00:00+00', '30 minutes') AS at) AS c
		WHERE is_off <> was_off});
}

for my $zone (@zones)
{
	for my $change (changes_of($zone))
	{
		my ($from, $to) = split /\|/, sql(qq{SELECT '$change'::timestamptz - interval '3 hours 10 minutes', '$change'::timestamptz + interval '4 hours'});
		at($from);
		is(make_jobs("SELECT '$zone', unnest(ARRAY['" . join("', '", @schedules) . "'])", 'last'), @schedules, "$zone at $change");
		at(sql(qq{SELECT '$from'::timestamptz + $_ * interval '50 minutes'})) for 1 .. 8;
		at($to);
		is(sql(qq{
			SELECT string_agg(slot || ' ' || schedule, ', ') FROM (
				SELECT p AS slot, j.schedule FROM aggjobs.jobs j, aggjobs_preview_schedule(j.schedule, j.time_zone, 100, '$from') AS p WHERE p <= '$to'
				EXCEPT ALL
				SELECT p, j.schedule FROM aggjobs.jobs j JOIN aggjobs.runs r USING (job_name),
					aggjobs_preview_schedule(j.schedule, j.time_zone, 100, r.slot - interval '1 second') AS p
				WHERE p BETWEEN r.slot AND coalesce(r.until_slot, r.slot)) AS d}), '', 'no slot is lost');
		is(sql(qq{
			SELECT count(*) FROM (
				SELECT p, j.schedule FROM aggjobs.jobs j JOIN aggjobs.runs r USING (job_name),
					aggjobs_preview_schedule(j.schedule, j.time_zone, 100, r.slot - interval '1 second') AS p
				WHERE p BETWEEN r.slot AND coalesce(r.until_slot, r.slot)
				EXCEPT ALL
				SELECT p, j.schedule FROM aggjobs.jobs j, aggjobs_preview_schedule(j.schedule, j.time_zone, 100, '$from') AS p WHERE p <= '$to') AS d}),
			0, 'none is told twice');
		is(sql(q{SELECT count(*) FROM aggjobs.runs WHERE status NOT IN ('succeeded', 'missed')}), 0, 'all went well');
		start_anew();
	}
}

is(check_invariants($node, $db), q{}, 'the records are true');
$node->stop;
done_testing();
