/*-------------------------------------------------------------------------
 *
 * run.c
 *	  aggjobs.run: what was run, is running and waits to run.
 *
 * Every function needs a transaction and works with the rights of the
 * extension's owner.  A row is made "queued" (or "skipped" or "missed", which
 * are final), becomes "running" by the worker before it starts, and gets its
 * final status by whoever knows it first: the worker, or the scheduler when
 * the worker is gone.  aj_run_finish() lets only the first one write.
 *
 * The states and who moves them: doc/dev/architecture.md
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/run.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/after.h"
#include "catalog/backfill.h"
#include "catalog/namespace.h"
#include "catalog/retry.h"
#include "catalog/run.h"
#include "miscadmin.h"
#include "shmem/slots.h"
#include "shmem/wake.h"
#include "storage/lock.h"
#include "utils/backend_status.h"
#include "utils/lsyscache.h"

/* Queue a run that somebody asked for, or a retry; returns its id. */
int64
aj_run_insert(int64 job_id, const char *job_name, Oid owner, TimestampTz at,
			  int attempt, const char *trigger)
{
	AjSpi spi;
	int64 run_id;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run("INSERT INTO aggjobs.run (job_id, job_name, owner, at,"
					  " attempt, status, trigger, queued_at)"
					  " VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7)"
					  " RETURNING run_id",
					  AJ_ARGS(aj_arg_int8(job_id), aj_arg_text(job_name),
							  aj_arg_oid(owner), aj_arg_time(at),
							  aj_arg_int4(attempt), aj_arg_text(trigger),
							  aj_arg_time(aj_now())));
	run_id = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return run_id;
}

/* The run with this id, or NULL. */
AjRun *
aj_run_find(int64 run_id)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjRun *run = NULL;
	bool isnull;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT r.run_id, r.job_id, r.job_name, r.owner::oid,"
				   " r.slot, r.at, r.attempt, r.status, r.xmin,"
				   " CASE WHEN r.definition = jsonb_hash(j.steps)"
				   " AND jsonb_typeof(j.steps) = 'array'"
				   " THEN (SELECT n FROM jsonb_array_length(r.steps) n"
				   " WHERE n < jsonb_array_length(j.steps)) END"
				   " FROM aggjobs.run r LEFT JOIN aggjobs.job j USING (job_id)"
				   " WHERE r.run_id = $1",
				   AJ_ARGS(aj_arg_int8(run_id))) > 0)
	{
		run = MemoryContextAllocZero(context, sizeof(AjRun));
		run->run_id = aj_spi_int8(0, 1, 0);
		run->job_id = aj_spi_int8(0, 2, 0);
		run->job_name = aj_spi_text(0, 3, context);
		run->owner = aj_spi_oid(0, 4);
		run->slot = aj_spi_time(0, 5, AJ_NO_TIME);
		run->at = aj_spi_time(0, 6, AJ_NO_TIME);
		run->attempt = (int) aj_spi_int8(0, 7, 1);
		run->status = aj_spi_text(0, 8, context);
		run->uncommitted = TransactionIdIsCurrentTransactionId(
			DatumGetTransactionId(aj_spi_datum(0, 9, &isnull)));
		run->steps_done = (int) aj_spi_int8(0, 10, 0);
	}
	aj_spi_close(&spi);
	return run;
}

/* Does a run wait for its start? */
bool
aj_run_is_queued(int64 run_id)
{
	return aj_catalog_run("SELECT FROM aggjobs.run r WHERE r.run_id = $1"
						  " AND r.status = 'queued'",
						  AJ_ARGS(aj_arg_int8(run_id))) > 0;
}

/* The status of a run as committed now, or NULL if there is no such run. */
char *
aj_run_status_latest(int64 run_id)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *status = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_read_latest("SELECT r.status FROM aggjobs.run r"
						   " WHERE r.run_id = $1",
						   AJ_ARGS(aj_arg_int8(run_id))) > 0)
		status = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	return status;
}

/*
 * aj_run_mark_running
 *		queued -> running; false if the run is not queued any more, or another
 *		run of its job is running.  A unique index keeps it so.
 *
 * In a worker it is noted which steps it has; the results of earlier attempts
 * count only if the steps are still the same.
 */
bool
aj_run_mark_running(int64 run_id, int pid, TimestampTz start, bool in_worker)
{
	return aj_catalog_run(
			   "UPDATE aggjobs.run SET status = 'running',"
			   " started_at = $2, worker_pid = $3,"
			   " worker_start = $4,"
			   " steps = CASE WHEN run.definition = d.hash"
			   " AND jsonb_array_length(run.steps) < d.nsteps"
			   " THEN run.steps ELSE '[]' END,"
			   " definition = CASE WHEN $5 THEN d.hash END"
			   " FROM (SELECT jsonb_hash(j.steps) AS hash,"
			   " CASE WHEN jsonb_typeof(j.steps) = 'array'"
			   " THEN jsonb_array_length(j.steps) END AS nsteps"
			   " FROM aggjobs.run r JOIN aggjobs.job j USING (job_id)"
			   " WHERE r.run_id = $1) d"
			   " WHERE run_id = $1 AND status = 'queued'"
			   " AND NOT EXISTS (SELECT FROM aggjobs.run o"
			   " WHERE o.job_id = run.job_id"
			   " AND o.status = 'running')",
			   AJ_ARGS(aj_arg_int8(run_id), aj_arg_time(aj_now()),
					   aj_arg_int4(pid), aj_arg_time(start),
					   aj_arg_bool(in_worker))) > 0;
}

/* Add the result of a finished step. */
void
aj_run_add_step(int64 run_id, const Jsonb *result)
{
	(void) aj_catalog_run("UPDATE aggjobs.run SET steps = steps ||"
						  " jsonb_build_array($2::jsonb) WHERE run_id = $1",
						  AJ_ARGS(aj_arg_int8(run_id), aj_arg_jsonb(result)));
}

/*
 * Carry the outcome of a run over to its job.  A failure that will be tried
 * again is none yet.
 */
static void
update_job_state(int64 run_id, const char *status, bool tried_again)
{
	(void) aj_spi_run("UPDATE aggjobs.job_state s SET last_run_id = r.run_id,"
					  " last_status = r.status,"
					  " last_run_at = coalesce(r.started_at, r.queued_at),"
					  " last_ended_at = r.ended_at,"
					  " failures_in_a_row = CASE"
					  " WHEN $2 = 'succeeded' THEN 0"
					  " WHEN $2 IN ('failed', 'timed_out', 'crashed')"
					  " AND NOT $3 THEN s.failures_in_a_row + 1"
					  " ELSE s.failures_in_a_row END"
					  " FROM aggjobs.run r"
					  " WHERE r.run_id = $1 AND s.job_id = r.job_id",
					  AJ_ARGS(aj_arg_int8(run_id), aj_arg_text(status),
							  aj_arg_bool(tried_again)));
}

/*
 * aj_run_finish
 *		Give a run its final status, and its job the outcome; queue another
 *		attempt, or the jobs that run after this one; end what it leads.
 *
 * False if the run had one already, or is gone, or runs and end->only_queued;
 * nothing is changed then.
 */
bool
aj_run_finish(int64 run_id, const AjRunEnd *end)
{
	AjSpi spi;
	uint64 rows;
	const AjUsage *used = &end->usage;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	rows = aj_spi_run(
		"UPDATE aggjobs.run SET status = $2, ended_at = $3,"
		" note = $4, error = $5, sqlstate = $6, detail = $7,"
		" hint = $8, context = $9, rows_written = $10,"
		" wal_bytes = $11, buffers_hit = $12, buffers_read = $13,"
		" buffers_written = $14, cpu_seconds = $15,"
		" peak_memory = nullif($16, 0), log_lines = $17,"
		" log_dropped = $18"
		" WHERE run_id = $1"
		" AND (status = 'queued' OR status = 'running' AND NOT $19)",
		AJ_ARGS(aj_arg_int8(run_id), aj_arg_text(end->status),
				aj_arg_time(aj_now()), aj_arg_text(end->note),
				aj_arg_text(aj_cut(end->error)), aj_arg_text(end->sqlstate),
				aj_arg_text(aj_cut(end->detail)),
				aj_arg_text(aj_cut(end->hint)),
				aj_arg_text(aj_cut(end->context)),
				aj_arg_int8(end->rows_written), aj_arg_int8(used->wal_bytes),
				aj_arg_int8(used->buffers_hit), aj_arg_int8(used->buffers_read),
				aj_arg_int8(used->buffers_written),
				aj_arg_float8(used->cpu_seconds),
				aj_arg_int8(used->peak_memory), aj_arg_int4(end->log_lines),
				aj_arg_int4(end->log_dropped), aj_arg_bool(end->only_queued)));
	if (rows > 0)
		update_job_state(run_id, end->status, aj_retry_queue(run_id, end));
	aj_spi_close(&spi);
	if (rows > 0 && strcmp(end->status, "succeeded") == 0)
		(void) aj_after_succeeded(run_id);
	else if (rows > 0)
		aj_backfills_end_with(run_id);
	if (rows > 0)
		aj_backfill_worker_ended(run_id,
								 strcmp(end->status, "failed") == 0 ||
									 strcmp(end->status, "crashed") == 0);
	return rows > 0;
}

/*
 * aj_runs_queued
 *		The oldest queued run of each job that may start now, those first that
 *		have waited longest, at most "limit" of each queue, in "context".
 *		"next_ready" is when the next of those that must wait may start;
 *		DT_NOEND for none.  So many workers of backfills may be at work.
 *
 * A point of priority counts as a minute of waiting, so that what is urgent
 * goes first and nothing waits for ever.
 */
AjQueuedRun *
aj_runs_queued(int limit, int backfill_workers, int *n, TimestampTz *next_ready,
			   MemoryContext context)
{
	AjSpi spi;
	AjQueuedRun *runs;
	TimestampTz now = aj_now();

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run("SELECT min(r.ready_at) FROM aggjobs.run r"
					  " WHERE r.status = 'queued' AND r.ready_at > $1",
					  AJ_ARGS(aj_arg_time(now)));
	*next_ready = aj_spi_time(0, 1, DT_NOEND);
	*n = (int) aj_spi_run(
		"SELECT w.run_id, w.job_id, w.owner, w.has_more, w.late_at, w.queue_id,"
		" w.max_workers, w.min_workers FROM (SELECT h.*,"
		" CASE WHEN j.backfill_id IS NULL THEN q.queue_id"
		" ELSE " CppAsString2(
			AJ_BACKFILL_QUEUE) " END AS queue_id,"
							   " CASE WHEN j.backfill_id IS NULL THEN q.max_workers ELSE $3 END"
							   " AS max_workers, q.min_workers,"
							   " h.since - j.priority * interval '1 minute' AS turn,"
							   " CASE WHEN h.trigger = 'schedule' AND j.start_deadline >= interval '0'"
							   " THEN h.slot + least(j.start_deadline, interval '1000 years') END"
							   " AS late_at,"
							   " row_number() OVER (PARTITION BY q.queue_id ORDER BY"
							   " h.since - j.priority * interval '1 minute', h.run_id) AS place"
							   " FROM (SELECT DISTINCT ON (r.job_id)"
							   " r.run_id, r.job_id, r.owner::oid, r.slot, r.trigger,"
							   " coalesce(r.ready_at, r.queued_at) AS since,"
							   " count(*) OVER (PARTITION BY r.job_id) > 1 AS has_more"
							   " FROM aggjobs.run r WHERE r.status = 'queued'"
							   " AND (r.ready_at IS NULL OR r.ready_at <= $2)"
							   " ORDER BY r.job_id, coalesce(r.slot, r.queued_at), r.run_id) h"
							   " LEFT JOIN aggjobs.job j USING (job_id)"
							   " LEFT JOIN aggjobs.queue q ON q.queue_name = j.queue) w"
							   " WHERE w.place <= $1 ORDER BY w.turn, w.run_id",
		AJ_ARGS(aj_arg_int8(limit), aj_arg_time(now),
				aj_arg_int4(backfill_workers)));
	runs = MemoryContextAlloc(context, sizeof(AjQueuedRun) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		runs[i].run_id = aj_spi_int8((uint64) i, 1, 0);
		runs[i].job_id = aj_spi_int8((uint64) i, 2, 0);
		runs[i].owner = aj_spi_oid((uint64) i, 3);
		runs[i].has_more = aj_spi_bool((uint64) i, 4);
		runs[i].late_at = aj_spi_time((uint64) i, 5, DT_NOEND);
		runs[i].queue_id = (int) aj_spi_int8((uint64) i, 6, 0);
		runs[i].most_of_queue = (int) aj_spi_int8((uint64) i, 7, 0);
		runs[i].least_of_queue = (int) aj_spi_int8((uint64) i, 8, 0);
	}
	aj_spi_close(&spi);
	return runs;
}

/* The run of a job that the table calls running, or 0. */
int64
aj_run_of_job(int64 job_id)
{
	AjSpi spi;
	int64 run_id = 0;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT r.run_id FROM aggjobs.run r"
				   " WHERE r.job_id = $1 AND r.status = 'running'",
				   AJ_ARGS(aj_arg_int8(job_id))) > 0)
		run_id = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return run_id;
}

/* A queued run has not started in time. */
void
aj_run_miss(int64 run_id)
{
	(void) aj_catalog_run("UPDATE aggjobs.run SET status = 'missed',"
						  " ended_at = $2,"
						  " note = 'not started before its starting deadline'"
						  " WHERE run_id = $1 AND status = 'queued'",
						  AJ_ARGS(aj_arg_int8(run_id), aj_arg_time(aj_now())));
}

/* One that a worker is about to begin with is locked: it is passed over. */
static bool
is_still_queued(int64 run_id)
{
	return aj_catalog_run("SELECT FROM aggjobs.run r WHERE r.run_id = $1"
						  " AND r.status = 'queued' FOR UPDATE SKIP LOCKED",
						  AJ_ARGS(aj_arg_int8(run_id))) > 0;
}

/*
 * aj_runs_replace
 *		Cancel what is queued of a job before a slot that takes its place, and
 *		stop the worker that has begun with it meanwhile; returns the run that
 *		is running, which is for the caller to stop, or 0.
 */
int64
aj_runs_replace(int64 job_id, TimestampTz slot)
{
	AjRunEnd end = {
		.status = "cancelled",
		.note = "replaced by a later slot",
	};
	int n;
	int64 *ids = aj_catalog_ids(
		"SELECT r.run_id FROM aggjobs.run r"
		" WHERE r.status = 'queued' AND r.job_id = $1"
		" AND r.run_id < (SELECT m.run_id FROM aggjobs.run m"
		" WHERE m.job_id = $1 AND m.slot = $2 AND m.attempt = 1)",
		AJ_ARGS(aj_arg_int8(job_id), aj_arg_time(slot)), &n,
		CurrentMemoryContext);

	for (int i = 0; i < n; i++)
	{
		if (is_still_queued(ids[i]))
			(void) aj_run_finish(ids[i], &end);
		else
			(void) aj_slots_stop_run(MyDatabaseId, ids[i], AJ_STOP_CANCEL,
									 end.note);
	}
	return aj_run_of_job(job_id);
}

/*
 * aj_run_retry
 *		Queue another attempt at a run that somebody asked for; returns its id.
 *
 * Its slot stays the same, and its number is one more than that of the last
 * attempt at it.  It goes on with the step that failed.
 */
int64
aj_run_retry(const AjRun *run)
{
	AjSpi spi;
	int64 run_id;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run(
		"INSERT INTO aggjobs.run (job_id, job_name, owner, slot, at, attempt,"
		" retry_of, status, trigger, queued_at, definition, steps)"
		" SELECT j.job_id, j.job_name, j.owner, r.slot, r.at,"
		" 1 + greatest(r.attempt, (SELECT max(o.attempt) FROM aggjobs.run o"
		" WHERE o.job_id = r.job_id AND o.slot = r.slot)),"
		" r.run_id, 'queued', 'retry', $2, r.definition,"
		" CASE WHEN r.status = 'succeeded' THEN '[]' ELSE r.steps END"
		" FROM aggjobs.run r JOIN aggjobs.job j USING (job_id)"
		" WHERE r.run_id = $1 RETURNING run_id",
		AJ_ARGS(aj_arg_int8(run->run_id), aj_arg_time(aj_now())));
	run_id = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return run_id;
}

/*
 * A session that has committed a run as running holds a lock as long as it is at
 * it: a session lock of a database object, which nobody waits for, and which
 * goes with the error that ends the CALL and with the process.
 */
static void
set_lock_tag(LOCKTAG *tag, int64 run_id)
{
	Oid table = get_relname_relid("run", get_namespace_oid("aggjobs", false));

	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, table, (Oid) run_id, 0);
}

/* This session is at a run now, also beyond the end of a transaction. */
void
aj_run_hold(int64 run_id)
{
	LOCKTAG tag;

	set_lock_tag(&tag, run_id);
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
}

/* The run is over. */
void
aj_run_let_go(int64 run_id)
{
	LOCKTAG tag;

	set_lock_tag(&tag, run_id);
	(void) LockRelease(&tag, ExclusiveLock, true);
}

/*
 * aj_run_leave
 *		The same amid an error or the exit of the process, which would do it a
 *		little later.
 */
void
aj_run_leave(void)
{
	LockReleaseSession(DEFAULT_LOCKMETHOD);
}

/*
 * The process that has run "r": a worker as long as it lives, a session as
 * long as it holds the lock, whatever else it does afterwards.  A process is
 * known by its pid and its start, so a pid that was used again does not keep
 * a dead run alive.
 */
#define PROCESS_OF_RUN                                       \
	" FROM pg_stat_activity a WHERE a.pid = r.worker_pid"    \
	" AND a.backend_start = r.worker_start"                  \
	" AND (a.backend_type = 'pg_aggjobs worker'"             \
	" OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid" \
	" AND l.locktype = 'object'"                             \
	" AND l.classid = 'aggjobs.run'::regclass"               \
	" AND l.objid = (r.run_id & 4294967295)::oid))"

/*
 * The server keeps what it has once told of its processes until the end of the
 * transaction, in which somebody may have asked long ago: one that has come
 * since then would be taken for gone.
 */
static void
look_at_processes_anew(void)
{
	pgstat_clear_backend_activity_snapshot();
}

/*
 * aj_run_cancel_session
 *		Cancel what the session does that has this run; false if none has it.
 */
bool
aj_run_cancel_session(int64 run_id)
{
	AjSpi spi;
	bool cancelled = false;

	look_at_processes_anew();
	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT pg_cancel_backend(p.pid) FROM aggjobs.run r,"
				   " LATERAL (SELECT a.pid" PROCESS_OF_RUN ") p"
				   " WHERE r.run_id = $1 AND r.status = 'running'",
				   AJ_ARGS(aj_arg_int8(run_id))) > 0)
		cancelled = aj_spi_bool(0, 1);
	aj_spi_close(&spi);
	return cancelled;
}

/*
 * aj_runs_orphaned
 *		The running runs that no process is at any more, of one job, or of all
 *		if "job_id" is 0, in "context".
 */
int64 *
aj_runs_orphaned(int64 job_id, int *n, MemoryContext context)
{
	look_at_processes_anew();
	return aj_catalog_ids("SELECT r.run_id FROM aggjobs.run r"
						  " WHERE r.status = 'running'"
						  " AND ($1 = 0 OR r.job_id = $1)"
						  " AND NOT EXISTS (SELECT" PROCESS_OF_RUN ")",
						  AJ_ARGS(aj_arg_int8(job_id)), n, context);
}

/* Give a run that no process is at any more the status "crashed". */
void
aj_run_crash(int64 run_id)
{
	AjRun *run = aj_run_find(run_id);
	AjRunEnd end = {
		.status = "crashed",
		.error = "the process of the run ended without a word",
		.hint = "The server's log may tell why it ended.",
	};

	/* The next slot of its job may count from here. */
	if (run != NULL && aj_run_finish(run_id, &end))
		aj_wake_job(run->job_id);
}

/* The same for all orphaned runs of a job. */
void
aj_runs_crash_orphans(int64 job_id)
{
	int n;
	int64 *ids = aj_runs_orphaned(job_id, &n, CurrentMemoryContext);

	for (int i = 0; i < n; i++)
		aj_run_crash(ids[i]);
}

/*
 * aj_runs_cancel_copied
 *		Cancel runs that were queued in the database of which this one is a
 *		copy; that database runs them.  Returns how many there were.
 */
int
aj_runs_cancel_copied(void)
{
	AjRunEnd end = {
		.status = "cancelled",
		.note = "queued in the database that this one was copied from",
	};
	int n;
	int64 *ids;

	ids = aj_catalog_ids("SELECT r.run_id FROM aggjobs.run r"
						 " JOIN aggjobs.job j USING (job_id)"
						 " WHERE r.status = 'queued' AND j.database_oid <> $1",
						 AJ_ARGS(aj_arg_oid(MyDatabaseId)), &n,
						 CurrentMemoryContext);
	for (int i = 0; i < n; i++)
		(void) aj_run_finish(ids[i], &end);
	return n;
}

/* A tail that removes the runs selected by "doomed" and their log lines. */
#define REMOVE_DOOMED                                         \
	", logs AS (DELETE FROM aggjobs.run_log l USING doomed d" \
	" WHERE l.run_id = d.run_id)"                             \
	" DELETE FROM aggjobs.run r USING doomed d WHERE r.run_id = d.run_id"

/*
 * aj_runs_prune
 *		Remove finished runs of a job beyond the numbers to keep, the oldest
 *		first, at most "limit" of each kind.  Returns how many went.
 */
int
aj_runs_prune(int64 job_id, int keep_successes, int keep_failures, int limit)
{
	AjSpi spi;
	uint64 rows;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	rows = aj_spi_run("WITH doomed AS (SELECT run_id FROM aggjobs.run"
					  " WHERE job_id = $1 AND status = 'succeeded'"
					  " ORDER BY run_id DESC OFFSET $2 LIMIT $3)" REMOVE_DOOMED,
					  AJ_ARGS(aj_arg_int8(job_id), aj_arg_int8(keep_successes),
							  aj_arg_int8(limit)));
	rows +=
		aj_spi_run("WITH doomed AS (SELECT run_id FROM aggjobs.run"
				   " WHERE job_id = $1 AND status NOT IN"
				   " ('succeeded', 'queued', 'running')"
				   " ORDER BY run_id DESC OFFSET $2 LIMIT $3)" REMOVE_DOOMED,
				   AJ_ARGS(aj_arg_int8(job_id), aj_arg_int8(keep_failures),
						   aj_arg_int8(limit)));
	aj_spi_close(&spi);
	return (int) rows;
}

/*
 * aj_runs_prune_old
 *		Remove finished runs older than their job's keep_age, or than so many
 *		minutes, at most "limit" of them.  Returns how many went.
 */
int
aj_runs_prune_old(int keep_minutes, int limit)
{
	return (int) aj_catalog_run(
		"WITH doomed AS (SELECT r.run_id FROM aggjobs.run r"
		" LEFT JOIN aggjobs.job j USING (job_id)"
		" WHERE r.status NOT IN ('queued', 'running')"
		/* One that can't be taken from now would keep all history. */
		" AND r.ended_at < $1 - coalesce(CASE WHEN j.keep_age >= interval '0'"
		" THEN least(j.keep_age, interval '1000 years') END,"
		" make_interval(mins => $2))"
		" ORDER BY r.run_id LIMIT $3)" REMOVE_DOOMED,
		AJ_ARGS(aj_arg_time(aj_now()), aj_arg_int4(keep_minutes),
				aj_arg_int8(limit)));
}
