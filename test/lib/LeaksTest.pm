# What must not be left of a server's work once nothing goes on there: memory
# that no process has, processes that nobody knows, temporary tables.
package LeaksTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT = qw($LEAKS_CONF leaked_segments unknown_processes $ORPHANED_TABLES was_interrupted);

# Segments are files of the server's own then, where other servers on the
# machine have theirs in one place with ours.
our $LEAKS_CONF = "dynamic_shared_memory_type = mmap\n";

# Temporary tables that are there.  To be asked when no session has one.
our $ORPHANED_TABLES = q{
	SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname ~ '^pg_temp_' AND c.relkind <> 'i'};

sub children_of
{
	my ($node) = @_;
	my $postmaster = $node->{_pid};

	# Each line: pid and how it calls itself.
	return map { /^\s*(\d+)\s+(.*)$/ ? [ $1, $2 ] : () } split /\n/, `ps -o pid=,args= --ppid $postmaster`;
}

# Files of dynamic shared memory that no process has in use.
sub leaked_segments
{
	my ($node) = @_;
	my %used;

	for my $pid ($node->{_pid}, map { $_->[0] } children_of($node))
	{
		# One may have ended since.
		open my $maps, '<', "/proc/$pid/maps" or next;
		while (<$maps>) { $used{$1} = 1 if m{pg_dynshmem/(mmap\.\d+)}; }
		close $maps;
	}
	return grep { !$used{$_} } map { s{.*/}{}r } glob $node->data_dir . '/pg_dynshmem/mmap.*';
}

# Children of the postmaster that pg_stat_activity does not show, as "pid name".
sub unknown_processes
{
	my ($node, $database) = @_;
	my @children = children_of($node);
	my %known = map { $_ => 1 } split /\n/, $node->safe_psql($database, 'SELECT pid FROM pg_stat_activity');

	return map { "$_->[0] $_->[1]" } grep { !$known{ $_->[0] } && kill 0, $_->[0] } @children;
}

# Has a server begun anew since this place in its log, because a process of it
# was killed or it was not shut down in order?  It leaves temporary tables then.
sub was_interrupted
{
	my ($node, $since) = @_;

	return slurp_file($node->logfile, $since) =~ /reinitializing|not properly shut down|was interrupted|selected new timeline/;
}

1;
