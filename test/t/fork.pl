# A copy of the whole cluster that is started beside the original, as the manual
# says to: the jobs go on in the original, and rest in the copy.
use strict;
use warnings;

use AggjobsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $original = start_node('original', streaming => 1);
add_job($original, $db, 'often', 'every 1 second', 'SELECT 1');
add_job($original, $db, 'wanted', undef, 'SELECT 1');
wait_for($original, $db, q{SELECT EXISTS (SELECT FROM aggjobs.runs WHERE job_name = 'often' AND status = 'succeeded')}, 'it runs');
$original->backup('base');

my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($original, 'base');
$copy->append_conf('postgresql.conf', 'aggjobs.enabled = off');
$copy->start;
wait_for_scheduler($copy, $db);
my $began = $copy->safe_psql($db, 'SELECT clock_timestamp()');

wait_for($original, $db, qq{
	SELECT count(*) > 2 FROM aggjobs.runs WHERE job_name = 'often' AND status = 'succeeded' AND slot > '$began'},
	'the original goes on');
is($copy->safe_psql($db, "SELECT count(*) FROM aggjobs.runs WHERE slot > '$began' OR started_at > '$began'"), 0, 'nothing runs in the copy');
is($copy->safe_psql($db, q{SELECT state || ': ' || detail FROM aggjobs.health WHERE check_name = 'enabled'}),
	'degraded: aggjobs.enabled is off: nothing starts', 'health says so');

# what the manual says next
$copy->safe_psql($db, q{SELECT aggjobs_pause('often')});
set_enabled($copy, 'on');
is((run_to_end($copy, $db, 'wanted'))[1], 'succeeded', 'a job that is wanted there runs');
is($copy->safe_psql($db, "SELECT count(*) FROM aggjobs.runs WHERE job_name = 'often' AND slot > '$began'"), 0, 'one that is paused does not');

$copy->stop;
$original->stop;
done_testing();
