-- When the runs of a job start, wait and are tried again: what is accepted,
-- what is refused, and what the tables say.  What happens then: test/t/policies.pl
\pset footer off
\pset null ~
SET timezone = 'UTC';
CREATE VIEW policies AS
SELECT job_name, catch_up, catch_up_limit, start_deadline, overlap, retries, retry_delay, retry_delay_limit,
       queue, priority, nice, "after"
FROM aggjobs.jobs WHERE job_name LIKE 'p!_%' ESCAPE '!' ORDER BY job_name;

-- defaults, and everything at once
SELECT aggjobs_schedule('p_plain', NULL, 'SELECT 1') IS NOT NULL AS made;
SELECT aggjobs_set_queue('heavy', 2, 1);
SELECT aggjobs_create_job('p_full', '@daily', '[{"kind": "command", "command": "SELECT 1"}]',
	catch_up => 'all', catch_up_limit => 7, start_deadline => '2 hours', overlap => 'queue', retries => 5,
	retry_delay => '2 seconds', retry_delay_limit => '1 minute', queue => 'heavy', priority => 10, nice => 5,
	after => '{p_plain}') IS NOT NULL AS made;
TABLE policies;

-- each can be changed, and taken back
SELECT aggjobs_alter_job('p_full', catch_up => 'skip', overlap => 'replace', priority => -10);
SELECT aggjobs_alter_job('p_full', start_deadline => '0', retries => -1, retry_delay => '0', retry_delay_limit => '0',
	queue => '', nice => 0, after => '{}');
SELECT * FROM policies WHERE job_name = 'p_full';

-- what is not one of the words, or out of range
SELECT aggjobs_alter_job('p_full', catch_up => 'some');
SELECT aggjobs_alter_job('p_full', catch_up => '');
SELECT aggjobs_alter_job('p_full', catch_up_limit => 0);
SELECT aggjobs_alter_job('p_full', catch_up_limit => 1001);
SELECT aggjobs_alter_job('p_full', overlap => 'SKIP');
SELECT aggjobs_alter_job('p_full', start_deadline => '-1 second');
SELECT aggjobs_alter_job('p_full', start_deadline => '2000 years');
SELECT aggjobs_alter_job('p_full', retries => -2);
SELECT aggjobs_alter_job('p_full', retries => 101);
SELECT aggjobs_alter_job('p_full', retry_delay => '-1 second');
SELECT aggjobs_alter_job('p_full', retry_delay_limit => '-1 day');
SELECT aggjobs_alter_job('p_full', priority => 101);
SELECT aggjobs_alter_job('p_full', nice => -1);
SELECT aggjobs_alter_job('p_full', nice => 20);
SELECT aggjobs_alter_job('p_full', queue => 'none such');
SELECT aggjobs_alter_job('p_full', after => '{none such}');
SELECT aggjobs_alter_job('p_full', after => ARRAY[NULL::text]);
SELECT aggjobs_alter_job('p_full', after => array_fill('p_plain'::text, ARRAY[101]));

-- no circle, however long
SELECT aggjobs_alter_job('p_full', after => '{p_full}');
SELECT aggjobs_alter_job('p_full', after => '{p_plain}');
SELECT aggjobs_alter_job('p_plain', after => '{p_full}');
SELECT aggjobs_create_job('p_third', NULL, '[{"kind": "command", "command": "SELECT 1"}]', after => '{p_full}') IS NOT NULL AS made;
SELECT aggjobs_alter_job('p_plain', after => '{p_third}');
SELECT job_name, state, "after" FROM policies JOIN aggjobs.jobs USING (job_name, "after") ORDER BY job_name;
SELECT aggjobs_drop_job('p_plain');
SELECT job_name, "after" FROM policies;

-- queues
SELECT aggjobs_set_queue('heavy', 0);
SELECT aggjobs_set_queue('heavy', 1025);
SELECT aggjobs_set_queue('heavy', 2, 3);
SELECT aggjobs_set_queue('heavy', 2, -1);
SELECT aggjobs_set_queue('heavy', NULL);
SELECT aggjobs_set_queue(NULL, 1);
SELECT aggjobs_set_queue('', 1);
SELECT aggjobs_set_queue(E'a\nb', 1);
SELECT aggjobs_set_queue(repeat('x', 101), 1);
SELECT aggjobs_set_queue('heavy', 3);
SELECT aggjobs_alter_job('p_full', queue => 'heavy');
SELECT * FROM aggjobs.queues WHERE queue_name IS NOT NULL;
SELECT aggjobs_drop_queue('heavy');
SELECT aggjobs_alter_job('p_full', queue => '');
SELECT aggjobs_drop_queue('heavy');
SELECT aggjobs_drop_queue('heavy');

-- from code
SELECT * FROM aggjobs_sync_jobs('[
	{"name": "p_a", "command": "SELECT 1", "after": ["p_b"], "retries": 2, "catch_up": "all", "priority": 3},
	{"name": "p_b", "command": "SELECT 1", "overlap": "queue", "start_deadline": "5 minutes", "nice": 1}]');
SELECT * FROM policies WHERE job_name IN ('p_a', 'p_b');
SELECT * FROM aggjobs_sync_jobs('[
	{"name": "p_a", "after": [], "retries": -1, "retry_delay": "3 seconds"},
	{"name": "p_b", "overlap": "queue", "queue": ""}]');
SELECT * FROM aggjobs_sync_jobs('[{"name": "p_a", "after": "p_b"}]');
SELECT * FROM aggjobs_sync_jobs('[{"name": "p_a", "catch_up": "never"}]');
SELECT * FROM aggjobs_sync_jobs('[{"name": "p_a", "after": ["p_b"]}, {"name": "p_b", "after": ["p_a"]}]');

-- what has succeeded stays noted when the same is declared or set again
SELECT * FROM aggjobs_sync_jobs('[{"name": "p_a", "command": "SELECT 1", "after": []}, {"name": "p_b", "command": "SELECT 1"},
	{"name": "p_report", "command": "SELECT 1", "after": ["p_a", "p_b"]}]');
CREATE FUNCTION queued_reports() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM aggjobs.runs WHERE job_name = 'p_report' AND trigger = 'dependency'
$$;
SET client_min_messages = warning;
CALL aggjobs_run('p_a');
SELECT * FROM aggjobs_sync_jobs('[{"name": "p_report", "after": ["p_a", "p_b"]}]');
SELECT aggjobs_alter_job('p_report', after => '{p_b,p_a,p_a}');
CALL aggjobs_run('p_b');
SELECT queued_reports();
SELECT aggjobs_wait(max(run_id), '1 minute') FROM aggjobs.runs WHERE job_name = 'p_report';
-- but not of a job that has left the list in between
CALL aggjobs_run('p_a');
SELECT aggjobs_alter_job('p_report', after => '{p_b}'), aggjobs_alter_job('p_report', after => '{p_a,p_b}');
CALL aggjobs_run('p_b');
SELECT queued_reports();
CALL aggjobs_run('p_a');
SELECT queued_reports();
SELECT aggjobs_wait(max(run_id), '1 minute') FROM aggjobs.runs WHERE job_name = 'p_report';
RESET client_min_messages;
DROP FUNCTION queued_reports();

-- who may: queues are everybody's, and of a foreign job one must be able to see the outcome
CREATE ROLE regress_policies LOGIN;
SELECT aggjobs_grant('regress_policies');
GRANT USAGE ON SCHEMA public TO regress_policies;
SET ROLE regress_policies;
SELECT aggjobs_set_queue('mine', 1);
SELECT aggjobs_drop_queue('mine');
SELECT aggjobs_schedule('p_mine', NULL, 'SELECT 1') IS NOT NULL AS made;
SELECT aggjobs_alter_job('p_mine', after => '{p_full}');
SELECT * FROM aggjobs.queues WHERE queue_name IS NOT NULL;
RESET ROLE;
GRANT pg_monitor TO regress_policies;
SET ROLE regress_policies;
SELECT aggjobs_alter_job('p_mine', after => '{p_full}');
RESET ROLE;
SELECT job_name, owner, "after" FROM aggjobs.jobs WHERE job_name = 'p_mine';

SELECT aggjobs_drop_job(job_name) FROM policies;
DROP VIEW policies;
SELECT aggjobs_revoke('regress_policies');
REVOKE USAGE ON SCHEMA public FROM regress_policies;
DROP ROLE regress_policies;
