# Owners of jobs that go or lose their rights: their runs end with the reason,
# at the next slot at the latest, nothing loops, and the jobs of others go on.
# REASSIGN OWNED and DROP OWNED mean jobs, too.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('owners', conf => "aggjobs.max_workers = 4\n");

sub sql { return $node->safe_psql('postgres', 'SET client_min_messages = warning;' . join(';', @_)); }

# What psql says of a statement by a role, and its SQLSTATE.
sub said_by
{
	my ($role, $sql) = @_;
	return (sqlstate_of($node, 'postgres', "SET SESSION AUTHORIZATION $role;\n$sql"));
}

sub new_owner
{
	my ($role) = @_;
	sql("CREATE ROLE $role LOGIN", "SELECT aggjobs_grant('$role')");
	return;
}

sub drop_role
{
	my ($role) = @_;
	sql("SELECT aggjobs_revoke('$role')", "DROP ROLE $role");
	return;
}

# The idle worker of a role knows it from before; the next run gets a new one.
sub end_workers_of
{
	my ($role) = @_;
	sql("SELECT pg_terminate_backend(pid, 10000) FROM aggjobs.workers WHERE owner = '$role'::regrole");
	wait_for($node, 'postgres', "SELECT NOT EXISTS (SELECT FROM aggjobs.workers WHERE owner = '$role'::regrole)");
	return;
}

# A command that goes on until the test lets go of the lock, and so inside a
# run when it has it.
my $holder = $node->background_psql('postgres');
$holder->set_query_timer_restart;
sub hold { $holder->query_safe('SELECT pg_advisory_lock(1)'); return; }
sub let_go { $holder->query_safe('SELECT pg_advisory_unlock(1)'); return; }
my $WAIT = 'SELECT pg_advisory_xact_lock_shared(1)';

sub is_run
{
	my ($run, $status, $error, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(wait_for_end($node, 'postgres', $run), $status, "$what: $status");
	like(run_field($node, 'postgres', $run, q{concat_ws(' ', sqlstate, error, note)}), $error, "$what: the reason")
	  if defined $error;
	return;
}

sub health { return $node->safe_psql('postgres', q{SELECT state || ' ' || detail FROM aggjobs.health WHERE check_name = 'owners'}); }

new_owner($_) for qw(alice bob);
add_job($node, 'postgres', 'clock', 'every 1 second', 'SELECT 1', owner => q{'bob'});

# Bob's job is never held up: it has had so many more runs since.
sub clock_goes_on
{
	my ($since) = @_;
	wait_for($node, 'postgres', qq{
		SELECT count(*) >= 2 FROM aggjobs.runs
		WHERE job_name = 'clock' AND status = 'succeeded' AND slot > '$since'}, 'the clock goes on');
	is($node->safe_psql('postgres', qq{
			SELECT count(*) FROM aggjobs.runs
			WHERE job_name = 'clock' AND slot > '$since' AND status NOT IN ('queued', 'running', 'succeeded')}),
		0, 'the jobs of others go on');
	return;
}
sub now { return $node->safe_psql('postgres', 'SELECT clock_timestamp()'); }

subtest 'DROP ROLE owner' => sub {
	new_owner('passing');
	my $since = now();
	add_job($node, 'postgres', 'each second', 'every 1 second', 'SELECT 1', owner => q{'passing'});
	add_job($node, 'postgres', 'by hand', undef, $WAIT, owner => q{'passing'});
	my $oid = sql(q{SELECT 'passing'::regrole::oid});
	hold();
	my $running = trigger($node, 'postgres', 'by hand');
	wait_in_command($node, 'postgres', $running);
	my $queued = trigger($node, 'postgres', 'by hand');
	like(health(), qr/^ok/, 'health: all owners may run jobs');
	drop_role('passing');
	my $gone = now();
	like(health(), qr/^failing 2 jobs .*: by hand \(passing\), each second \(passing\)$/, 'health names the jobs and the role at once');
	wait_for($node, 'postgres', qq{
		SELECT count(*) >= 2 FROM aggjobs.runs
		WHERE job_name = 'each second' AND status = 'failed' AND slot > '$gone'}, 'scheduled runs fail');
	is($node->safe_psql('postgres', qq{
			SELECT string_agg(DISTINCT sqlstate || ' ' || error, '; ') FROM aggjobs.runs
			WHERE job_name = 'each second' AND status = 'failed'}),
		'42501 role "passing", the owner of the job, does not exist', 'each with the reason');
	is($node->safe_psql('postgres', qq{
			SELECT count(*) - count(DISTINCT slot) FROM aggjobs.runs WHERE job_name = 'each second'}),
		0, 'once for each slot: nothing loops');
	let_go();
	is_run($running, 'succeeded', undef, 'the run that went on');
	is_run($queued, 'failed', qr/^42501 role "passing", the owner of the job, does not exist$/, 'the queued run');

	# Another role of that name, and what would be one of that oid.
	new_owner('passing');
	is(sql(q{SET SESSION AUTHORIZATION passing}, q{SELECT count(*) FROM aggjobs.jobs}), 0, 'a new role of that name has no jobs');
	is_run(trigger($node, 'postgres', 'by hand'), 'failed', qr/does not exist$/, 'its run');
	sql(q{UPDATE aggjobs.job SET owner = 'passing'::regrole, owner_name = 'somebody else' WHERE job_name = 'by hand'});
	is_run(trigger($node, 'postgres', 'by hand'), 'failed', qr/was role "somebody else" and is now called "passing"/, 'a role with that oid');
	sql(q{REASSIGN OWNED BY passing TO bob});
	is(sql(q{SELECT owner FROM aggjobs.jobs WHERE job_name = 'by hand'}), 'passing', 'which can not give it away');
	sql(q{DROP OWNED BY passing});
	is(sql(q{SELECT count(*) FROM aggjobs.jobs WHERE job_name = 'by hand'}), 1, 'nor drop it');
	sql(q{SELECT aggjobs_alter_job('by hand', owner => 'bob')});
	is_run(trigger($node, 'postgres', 'by hand'), 'succeeded', undef, 'given to somebody who is there');
	sql(q{SELECT aggjobs_drop_job(n) FROM unnest(ARRAY['by hand', 'each second']) AS n}, q{DROP ROLE passing});
	clock_goes_on($since);
};

for (
	[ 'NOLOGIN', 'ALTER ROLE alice NOLOGIN', 'ALTER ROLE alice LOGIN',
		qr/^42501 role "alice", the owner of the job, is not allowed to log in$/ ],
	[ 'REVOKE CONNECT', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO bob',
		'GRANT CONNECT ON DATABASE postgres TO PUBLIC',
		qr/^42501 role "alice", the owner of the job, may not connect to the database$/ ],
	[ 'RENAME', 'ALTER ROLE alice RENAME TO alicia', 'ALTER ROLE alicia RENAME TO alice',
		qr/^42501 the owner of the job was role "alice" and is now called "alicia"$/ ])
{
	my ($what, $take, $give_back, $reason) = @$_;

	subtest $what => sub {
		my $since = now();
		add_job($node, 'postgres', 'watched', undef, $WAIT, owner => q{'alice'});
		hold();
		my $running = trigger($node, 'postgres', 'watched');
		wait_in_command($node, 'postgres', $running);
		my $queued = trigger($node, 'postgres', 'watched');
		sql($take);
		like(health(), qr/^failing 1 jobs .*: watched \(alice\)$/, 'health says so');
		let_go();
		is_run($running, 'succeeded', undef, 'the run that went on');
		is_run($queued, 'failed', $reason, 'the queued run, by a worker that was there');
		end_workers_of($what eq 'RENAME' ? 'alicia' : 'alice');
		my $later = trigger($node, 'postgres', 'watched');
		is_run($later, 'failed', $reason, 'a later run, by a worker that can not connect');
		is(run_field($node, 'postgres', $later, q{ended_at - queued_at < interval '10 seconds'}), 't', 'within seconds');
		sql($give_back);
		is_run(trigger($node, 'postgres', 'watched'), 'succeeded', undef, 'the next run after it is put right');
		like(health(), qr/^ok/, 'health is well again');
		sql(q{SELECT aggjobs_drop_job('watched')});
		clock_goes_on($since);
	};
}

subtest 'REVOKE' => sub {
	sql(q{CREATE TABLE raw (at timestamptz NOT NULL, v int)}, q{ALTER TABLE raw OWNER TO alice},
		q{GRANT CREATE, USAGE ON SCHEMA public TO alice},
		q{CREATE TABLE plain (v int)}, q{GRANT INSERT ON plain TO alice},
		q{INSERT INTO raw VALUES ('2026-01-01 00:10+00', 1)},
		q{SET SESSION AUTHORIZATION alice},
		q{SELECT aggjobs_create_rollup('kept', $q$SELECT date_trunc('hour', at, 'UTC') AS bucket, count(*) AS n FROM raw GROUP BY 1$q$, schedule => NULL)},
		q{RESET SESSION AUTHORIZATION},
		q{ALTER TABLE raw OWNER TO bob}, q{ALTER TABLE kept OWNER TO bob},
		q{GRANT SELECT ON raw TO alice}, q{GRANT ALL ON kept TO alice});
	my $job = sql(q{SELECT aggjobs_create_job('fills', NULL, '[{"kind": "rollup", "rollup": "kept"}]', owner => 'alice')});
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'with all rights');

	# The rights of the queued run are looked at when it runs.
	sql(q{INSERT INTO raw VALUES ('2026-01-01 01:10+00', 1)});
	sql(q{REVOKE UPDATE ON kept FROM alice});
	is_run(trigger($node, 'postgres', 'fills'), 'failed', qr/^42501 permission denied to refresh rollup "kept"/, 'without the right to the target');
	sql(q{GRANT UPDATE ON kept TO alice}, q{REVOKE SELECT ON raw FROM alice});
	is_run(trigger($node, 'postgres', 'fills'), 'failed', qr/^42501 permission denied for table raw/, 'without the right to the source');
	sql(q{GRANT SELECT ON raw TO alice});
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'with the rights again');
	is(sql(q{SELECT (SELECT sum(n) FROM kept) || ' ' || (SELECT count(*) FROM aggjobs_verify('kept'))}), '2 0', 'nothing was lost meanwhile');

	# In the middle of a run: its next statement fails.
	sql(q{SELECT aggjobs_create_job('two steps', NULL, jsonb_build_array(
			jsonb_build_object('kind', 'command', 'command', 'INSERT INTO plain VALUES (1)'),
			jsonb_build_object('kind', 'command', 'command', '} . $WAIT . q{'),
			jsonb_build_object('kind', 'command', 'command', 'INSERT INTO plain VALUES (2)')), owner => 'alice')});
	hold();
	my $run = trigger($node, 'postgres', 'two steps');
	wait_in_command($node, 'postgres', $run);
	sql(q{REVOKE INSERT ON plain FROM alice});
	let_go();
	is_run($run, 'failed', qr/^42501 permission denied for table plain/, 'a right that goes while the run goes on');
	is(sql(q{SELECT string_agg(v::text, ',') FROM plain}), '1', 'what was committed before stays');
	sql(q{SELECT aggjobs_drop_job('two steps')}, q{DROP TABLE plain});
};

subtest 'ALTER OWNER' => sub {
	# The target is bob's by now, and so is the source; alice has had rights on both.
	sql(q{ALTER TABLE kept OWNER TO CURRENT_USER}, q{REVOKE ALL ON kept FROM alice, bob});
	is_run(trigger($node, 'postgres', 'fills'), 'failed', qr/^42501 permission denied to refresh rollup "kept"/, 'of the target');
	sql(q{ALTER TABLE kept OWNER TO alice}, q{INSERT INTO raw VALUES ('2026-01-01 02:10+00', 1)},
		q{ALTER TABLE raw OWNER TO CURRENT_USER}, q{REVOKE ALL ON raw FROM alice, bob});
	is_run(trigger($node, 'postgres', 'fills'), 'failed', qr/^42501 permission denied for table raw/, 'of the source');
	sql(q{ALTER TABLE raw OWNER TO alice});
	is_run(trigger($node, 'postgres', 'fills'), 'succeeded', undef, 'given back');
	is(sql(q{SELECT sum(n) FROM kept}), 3, 'all is there');

	sql(q{CREATE MATERIALIZED VIEW matview AS SELECT 1 AS one}, q{ALTER MATERIALIZED VIEW matview OWNER TO alice});
	sql(q{SELECT aggjobs_create_job('refreshes', NULL, '[{"kind": "refresh_matview", "view": "public.matview"}]', owner => 'alice')});
	is_run(trigger($node, 'postgres', 'refreshes'), 'succeeded', undef, 'a materialized view of the owner');
	sql(q{ALTER MATERIALIZED VIEW matview OWNER TO bob});
	is_run(trigger($node, 'postgres', 'refreshes'), 'failed', qr/^42501 materialized view public.matview belongs to role "bob"/, 'of the materialized view');
	sql(q{SELECT aggjobs_alter_job('refreshes', owner => 'bob')});
	is_run(trigger($node, 'postgres', 'refreshes'), 'succeeded', undef, 'of the job, to the same role');
	sql(q{SELECT aggjobs_drop_job('refreshes'), aggjobs_drop_job('fills'), aggjobs_drop_rollup('kept')},
		q{DROP MATERIALIZED VIEW matview}, q{DROP TABLE raw});
};

# Jobs of these roles, as one line.
sub owners_of
{
	return $node->safe_psql('postgres', q{
		SELECT string_agg(job_name || ' ' || owner::text, ', ' ORDER BY job_name)
		FROM aggjobs.jobs WHERE job_name ~ '^r\d$'});
}

subtest 'REASSIGN OWNED' => sub {
	my $since = now();
	my ($state, $said);

	$node->safe_psql('postgres', 'CREATE DATABASE other');
	create_extension($node, 'other');
	new_owner($_) for qw(carol dave);
	$node->safe_psql('other', q{SELECT aggjobs_grant('carol')});
	add_job($node, 'other', 'r1', undef, 'SELECT 1', owner => q{'carol'});
	add_job($node, 'postgres', 'r1', undef, "$WAIT; SELECT current_user", owner => q{'carol'});
	add_job($node, 'postgres', 'r2', 'every 1 second', 'SELECT 1', owner => q{'carol'});
	add_job($node, 'postgres', 'r3', undef, 'SELECT 1', owner => q{'dave'}, enabled => 'false');
	hold();
	my $running = trigger($node, 'postgres', 'r1');
	wait_in_command($node, 'postgres', $running);
	my $queued = trigger($node, 'postgres', 'r1');

	sql(q{BEGIN}, q{REASSIGN OWNED BY carol TO alice}, q{ROLLBACK});
	is(owners_of(), 'r1 carol, r2 carol, r3 dave', 'rolled back, it changes nothing');
	($state, $said) = said_by('bob', 'REASSIGN OWNED BY carol TO bob;');
	is($state, '42501', 'who may not, may not');
	is(owners_of(), 'r1 carol, r2 carol, r3 dave', 'nor give the jobs');
	($state, $said) = said_by('carol', 'REASSIGN OWNED BY CURRENT_USER TO alice;');
	is($state, '42501', 'nor may one who can not be the new owner');

	(undef, $said) = sqlstate_of($node, 'postgres', 'REASSIGN OWNED BY carol, dave TO alice;');
	like($said, qr/2 jobs of role "carol" belong to role "alice" now.*1 job of role "dave" belongs to role "alice" now/s, 'it says how many jobs went along');
	is(owners_of(), 'r1 alice, r2 alice, r3 alice', 'the jobs of all roles of the list');
	is(sql(q{SELECT enabled FROM aggjobs.jobs WHERE job_name = 'r3'}), 'f', 'what is paused stays paused');
	is($node->safe_psql('other', q{SELECT owner FROM aggjobs.jobs WHERE job_name = 'r1'}), 'carol', 'those in another database stay');
	let_go();
	is_run($running, 'succeeded', undef, 'the run that went on');
	is_run($queued, 'succeeded', undef, 'the queued run');
	is(run_field($node, 'postgres', $queued, q{owner || ' ' || (steps -> 0 -> 'first_row' ->> 'current_user')}), 'alice alice', 'which runs as the new owner');
	my $given = now();
	wait_for($node, 'postgres', qq{
		SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'r2' AND status = 'succeeded'
			AND owner = 'alice'::regrole AND slot > '$given')}, 'slots come as before');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM aggjobs.runs WHERE job_name = 'r2' AND status = 'failed'}), 0, 'and no run fails on the way');

	# By its members, in their words for themselves.
	sql(q{GRANT dave TO alice});
	($state, $said) = said_by('alice', 'REASSIGN OWNED BY SESSION_USER TO dave;');
	is($state, '', 'a member of the new owner may');
	is(owners_of(), 'r1 dave, r2 dave, r3 dave', 'as SESSION_USER');
	(undef, $said) = said_by('alice', "SET ROLE dave;\nREASSIGN OWNED BY CURRENT_ROLE TO SESSION_USER;");
	is(owners_of(), 'r1 dave, r2 dave, r3 dave', 'but not a role that is no member of it');

	sql(q{CREATE ROLE team NOLOGIN});
	(undef, $said) = sqlstate_of($node, 'postgres', 'REASSIGN OWNED BY dave TO team;');
	like($said, qr/WARNING:.*jobs of role "team" can't run.*not allowed to log in/s, 'a role that may not log in: a warning');
	is(owners_of(), 'r1 team, r2 team, r3 team', 'the jobs are its own');
	like(health(), qr/^failing 2 jobs .*r1 \(team\), r2 \(team\)$/, 'and health says that they do not run');

	# In a function that is dropped by what it does.
	sql(q{REASSIGN OWNED BY team TO carol}, q{GRANT CREATE ON SCHEMA public TO carol},
		q{SET SESSION AUTHORIZATION carol},
		q{CREATE FUNCTION public.leave() RETURNS void LANGUAGE sql AS $f$ DROP OWNED BY CURRENT_USER $f$},
		q{BEGIN}, q{SELECT public.leave()}, q{ROLLBACK},
		q{DO $d$ BEGIN EXECUTE 'DROP OWNED BY CURRENT_USER CASCADE'; END $d$});
	is(owners_of(), '', 'DROP OWNED BY CURRENT_USER in a function');
	sql(q{DROP OWNED BY alice, carol, dave, team}, q{DROP ROLE dave, team});
	$node->safe_psql('other', q{DROP OWNED BY carol});
	sql(q{DROP ROLE carol}, q{SELECT aggjobs_grant('alice')});
	$node->safe_psql('postgres', 'DROP DATABASE other');
	clock_goes_on($since);
};

subtest 'DROP OWNED' => sub {
	my $since = now();
	my $said;

	new_owner('erin');
	add_job($node, 'postgres', 'd1', undef, $WAIT, owner => q{'erin'});
	add_job($node, 'postgres', 'd2', 'every 1 second', 'SELECT 1', owner => q{'erin'});
	hold();
	my $running = trigger($node, 'postgres', 'd1');
	wait_in_command($node, 'postgres', $running);
	my $queued = trigger($node, 'postgres', 'd1');
	sql(q{BEGIN}, q{DROP OWNED BY erin}, q{ROLLBACK});
	is(sql(q{SELECT count(*) FROM aggjobs.jobs WHERE owner = 'erin'::regrole}), 2, 'rolled back, it drops nothing');
	is((said_by('bob', 'DROP OWNED BY erin;'))[0], '42501', 'who may not, may not');
	(undef, $said) = sqlstate_of($node, 'postgres', 'DROP OWNED BY erin;');
	like($said, qr/NOTICE:.*2 jobs of role "erin" were dropped/, 'it says how many jobs went');
	is(sql(q{SELECT count(*) FROM aggjobs.jobs WHERE owner = 'erin'::regrole}), 0, 'they are gone');
	is_run($queued, 'cancelled', qr/job was dropped/, 'the queued run');
	let_go();
	is_run($running, 'succeeded', undef, 'the run that went on');
	(undef, $said) = sqlstate_of($node, 'postgres', 'DROP OWNED BY erin; DROP ROLE erin;');
	unlike($said, qr/NOTICE|ERROR/, 'then the role can be dropped');
	clock_goes_on($since);
};

leave($holder);
$node->stop;
done_testing();
