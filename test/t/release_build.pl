# A release build has neither the virtual clock nor fault points; a test build
# has, so that this test can fail.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $CLOCK = q{CREATE FUNCTION test_clock(timestamptz, boolean) RETURNS void
	LANGUAGE c AS '$libdir/pg_aggjobs', 'aggjobs_test_clock'};
my $SETTINGS = q{SELECT count(*) FROM pg_settings WHERE name ~ '^aggjobs\.(test_|gate$)'};

# What a build has of it: symbols, texts, settings, functions.
sub traces_of
{
	my ($bin, $name) = @_;

	local $ENV{PATH} = "$bin:$ENV{PATH}";
	my ($library) = run_command([ "$bin/pg_config", '--pkglibdir' ]);
	$library .= '/pg_aggjobs.so';
	my ($symbols) = run_command([ 'nm', '-D', $library ]);
	my $contents = slurp_file($library);
	my $node = start_node($name);
	my ($state) = sqlstate_of($node, 'postgres', $CLOCK);
	my %traces = (
		symbols => scalar(() = $symbols =~ /aggjobs_test_/g),
		texts => scalar(() = $contents =~ /fault point|before commit/g),
		settings => $node->safe_psql('postgres', $SETTINGS),
		functions => $state eq '' ? 1 : 0);

	$node->stop;
	return \%traces;
}

my ($testing) = run_command([ 'pg_config', '--bindir' ]);
my $has = traces_of($testing, 'testing');
my $lacks = traces_of($ENV{AGGJOBS_RELEASE_BIN}, 'release');

for my $what (sort keys %$has)
{
	cmp_ok($has->{$what}, '>', 0, "a test build has $what");
	is($lacks->{$what}, 0, "a release build has no $what");
}
done_testing();
