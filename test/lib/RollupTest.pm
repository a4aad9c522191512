# What the TAP tests of rollups have in common: a rollup beside the query that
# it keeps, and the question whether both say the same.
#
# A rollup is right if its live view equals the query on the raw rows.  That
# alone proves little where everything counts as changed, so the tests also ask
# what is stale, and after a refresh whether the table itself is right.
package RollupTest;

use strict;
use warnings;

use Exporter 'import';
use Test::More;

our @EXPORT = qw(
  open_session close_session by_hour by_day make_rollup follow_rollup look_at
  leave refresh state_sql state is_state is_noted is_fresh write_ok
);

# The query of a rollup of a table with columns at, k and v.
sub by_hour
{
	my ($table, %names) = @_;
	my ($at, $k, $v) = map { $names{$_} // $_ } qw(at k v);

	return "SELECT date_trunc('hour', $at, 'UTC') AS bucket, $k AS key, count(*) AS n,"
	  . " sum($v) AS total, max($v) AS most FROM $table GROUP BY 1, 2";
}

sub by_day
{
	my ($table) = @_;
	return "SELECT date_trunc('day', at, 'UTC') AS bucket, count(*) AS n, sum(v) AS total"
	  . " FROM $table GROUP BY 1";
}

# A session that stays: looks are many, and a new psql for each is slow.
sub open_session
{
	my ($node, $database) = @_;
	my $session = $node->background_psql($database // 'postgres', on_error_stop => 0);

	$session->set_query_timer_restart;
	$session->query_safe('SET client_min_messages = warning');
	return $session;
}

# Its time may be up while nothing was asked of it, which is no fault.
sub close_session
{
	my ($session) = @_;

	$session->{timeout}->start;
	$session->quit;
	return;
}

# follow_rollup(node, name, query, database => name): one that is there already,
# looked at from a session of its own.
sub follow_rollup
{
	my ($node, $name, $query, %args) = @_;
	return { name => $name, query => $query, session => open_session($node, $args{database}) };
}

# The same, made first, without a schedule, and refreshed.
sub make_rollup
{
	my ($node, $name, $query, %args) = @_;
	my $rollup = follow_rollup($node, $name, $query, %args);

	$rollup->{session}->query_safe(
		"SELECT aggjobs_create_rollup('$name', \$q\$$query\$q\$, schedule => NULL)");
	refresh($rollup);
	return $rollup;
}

sub refresh
{
	my ($rollup) = @_;

	$rollup->{session}->query_safe("CALL aggjobs_refresh('$rollup->{name}')");
	return;
}

# Look no more, for example because the server is going to be stopped.
sub leave
{
	my ($rollup) = @_;

	close_session($rollup->{session});
	return;
}

# From here on, look at the same rollup on another server.
sub look_at
{
	my ($rollup, $node, $database) = @_;

	$rollup->{session} = open_session($node, $database);
	return;
}

# One line: how many rows of the live view are wrong, whether anything is stale,
# and what the problem with the capture makes of the health.
sub state_sql
{
	my ($rollup) = @_;
	my ($name, $query) = @$rollup{qw(name query)};
	my $live = "TABLE ${name}_live";

	return qq{
		SELECT (SELECT count(*) FROM (($live EXCEPT ALL ($query))
				UNION ALL (($query) EXCEPT ALL $live)) AS wrong) || ' wrong, '
			|| CASE WHEN r.stale_ranges > 0 THEN 'stale' ELSE 'clean' END || ', '
			|| CASE WHEN r.problem IS NULL THEN '' ELSE 'problem, ' END || h.state
		FROM aggjobs.rollups r, aggjobs.health h
		WHERE r.rollup_name = '$name' AND h.check_name = 'capture'};
}

sub state
{
	my ($rollup) = @_;
	return $rollup->{session}->query_safe(state_sql($rollup));
}

sub is_state
{
	my ($rollup, $expected, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(state($rollup), $expected, $what);
}

# What was written is in the live view, and not yet in the table.
sub is_noted
{
	my ($rollup, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is_state($rollup, '0 wrong, stale, ok', "$what: noted");
}

# Refresh; then nothing is stale, and each closed bucket of the table is right.
sub is_fresh
{
	my ($rollup, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(
		$rollup->{session}->query_safe("CALL aggjobs_refresh('$rollup->{name}');"
			  . state_sql($rollup)
			  . ";\nSELECT count(*) FROM aggjobs_verify('$rollup->{name}')"),
		"0 wrong, clean, ok\n0", "$what: refreshed");
}

# Write below the horizon in a session: it is noted, and a refresh computes it.
sub write_ok
{
	my ($rollup, $session, $what, $sql) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$session->query_safe($sql);
	return is_noted($rollup, $what) & is_fresh($rollup, $what);
}

1;
