#!/bin/bash
# A job of each minute after twenty years of downtime: what the scheduler needs
# until all slots that passed are recorded, for each policy.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

bench_begin
session "CALL pg_temp.settle(0);"

# catch_up CATCH_UP LIMIT: CPU of the scheduler, in ms.  The job is planned as it
# was before the downtime by a transaction that is open while the scheduler reads
# it: so it looks at it again a second later.
catch_up() {
    local scheduler before
    session "SELECT aggjobs_create_job('bench_down', '* * * * *', '[{\"kind\": \"command\", \"command\": \"SELECT 1\"}]',
            catch_up => '$1', catch_up_limit => $2);
        SELECT pg_sleep(2);" >/dev/null
    scheduler=$(session "SELECT pid FROM pg_stat_activity
        WHERE backend_type = 'pg_aggjobs scheduler' AND datname = current_database();")
    before=$(cpu_of "$scheduler")
    session "DO \$\$
        DECLARE
            job bigint := (SELECT job_id FROM aggjobs.job WHERE job_name = 'bench_down');
        BEGIN
            UPDATE aggjobs.job_state SET next_slot = date_trunc('minute', now()) - interval '20 years' WHERE job_id = job;
            PERFORM aggjobs_alter_job('bench_down', description => 'late');
            UPDATE aggjobs.job_state SET next_slot = date_trunc('minute', now()) - interval '20 years' WHERE job_id = job;
            COMMIT;
            LOOP
                EXIT WHEN EXISTS (SELECT FROM aggjobs.run WHERE job_id = job AND slots > 1000000);
                PERFORM pg_sleep(0.02);
            END LOOP;
        END \$\$;"
    calc "$(cpu_of "$scheduler") - $before"
    session "SELECT aggjobs_drop_job('bench_down'); CALL pg_temp.settle(0);" >/dev/null
}

skip=$(catch_up skip 1)
last=$(catch_up last 1)
hundred=$(catch_up all 100)
thousand=$(catch_up all 1000)

title "20 years of downtime of a job of each minute, 10,519,200 slots"
judge "CPU of the scheduler until they are recorded, catch_up skip" "$skip" 100 ms
judge "last" "$last" 100 ms
judge "all, 100 rows to run" "$hundred" 100 ms
judge "all, 1,000 rows to run" "$thousand" 100 ms
verdict
