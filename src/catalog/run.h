/*
 * run.h
 *	  aggjobs.run: what was run, is running and waits to run.
 */
#ifndef AJ_CATALOG_RUN_H
#define AJ_CATALOG_RUN_H

#include "base/compat.h"
#include "base/usage.h"
#include "datatype/timestamp.h"
#include "utils/jsonb.h"

typedef struct AjRun
{
	int64 run_id;
	int64 job_id;
	char *job_name;
	Oid owner;
	TimestampTz slot; /* AJ_NO_TIME: by hand */
	TimestampTz at;	  /* AJ_NO_TIME: what is due */
	int attempt;
	char *status;
	int steps_done;	  /* by earlier attempts, of the same definition */
	bool uncommitted; /* written by the transaction that is open here */
} AjRun;

/* How a run ended; texts may be NULL. */
typedef struct AjRunEnd
{
	const char *status;
	bool is_interrupted; /* cancelled by no wish about this run */
	bool only_queued;	 /* if it is running, leave it to who runs it */
	const char *note;
	const char *error;
	const char *sqlstate;
	const char *detail;
	const char *hint;
	const char *context;
	int64 rows_written;
	AjUsage usage;
	int log_lines;
	int log_dropped;
} AjRunEnd;

/* Workers of backfills are limited like the jobs of a queue. */
#define AJ_BACKFILL_QUEUE (-1)

typedef struct AjQueuedRun
{
	int64 run_id;
	int64 job_id;
	Oid owner;
	bool has_more;		 /* runs of this job are queued behind it */
	TimestampTz late_at; /* it is missed then; DT_NOEND: never */
	int queue_id;		 /* 0: none; AJ_BACKFILL_QUEUE */
	int most_of_queue;	 /* runs that may go on at once */
	int least_of_queue;	 /* idle workers to keep */
} AjQueuedRun;

extern int64 aj_run_insert(int64 job_id, const char *job_name, Oid owner,
						   TimestampTz at, int attempt, const char *trigger);
extern AjRun *aj_run_find(int64 run_id);
extern bool aj_run_is_queued(int64 run_id);
extern char *aj_run_status_latest(int64 run_id);
extern bool aj_run_mark_running(int64 run_id, int pid, TimestampTz start,
								bool in_worker);
extern void aj_run_add_step(int64 run_id, const Jsonb *result);
extern bool aj_run_finish(int64 run_id, const AjRunEnd *end);
extern AjQueuedRun *aj_runs_queued(int limit, int backfill_workers, int *n,
								   TimestampTz *next_ready,
								   MemoryContext context);
extern void aj_run_miss(int64 run_id);
extern int64 aj_runs_replace(int64 job_id, TimestampTz slot);
extern int64 aj_run_retry(const AjRun *run);
extern int64 aj_run_of_job(int64 job_id);
extern void aj_run_hold(int64 run_id);
extern void aj_run_let_go(int64 run_id);
extern void aj_run_leave(void);
extern bool aj_run_cancel_session(int64 run_id);
extern int64 *aj_runs_orphaned(int64 job_id, int *n, MemoryContext context);
extern void aj_run_crash(int64 run_id);
extern void aj_runs_crash_orphans(int64 job_id);
extern int aj_runs_cancel_copied(void);
extern int aj_runs_prune(int64 job_id, int keep_successes, int keep_failures,
						 int limit);
extern int aj_runs_prune_old(int keep_minutes, int limit);

#endif /* AJ_CATALOG_RUN_H */
