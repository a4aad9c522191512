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
#include "base/spi.h"
#include "catalog/run.h"
#include "miscadmin.h"
#include "utils/array.h"

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
				   " r.slot, r.at, r.attempt, r.status, r.xmin"
				   " FROM aggjobs.run r WHERE r.run_id = $1",
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
	}
	aj_spi_close(&spi);
	return run;
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
 */
bool
aj_run_mark_running(int64 run_id, int pid, TimestampTz start)
{
	return aj_catalog_run("UPDATE aggjobs.run SET status = 'running',"
						  " started_at = $2, worker_pid = $3,"
						  " worker_start = $4"
						  " WHERE run_id = $1 AND status = 'queued'"
						  " AND NOT EXISTS (SELECT FROM aggjobs.run o"
						  " WHERE o.job_id = run.job_id"
						  " AND o.status = 'running')",
						  AJ_ARGS(aj_arg_int8(run_id), aj_arg_time(aj_now()),
								  aj_arg_int4(pid), aj_arg_time(start))) > 0;
}

/* Add the result of a finished step. */
void
aj_run_add_step(int64 run_id, const Jsonb *result)
{
	(void) aj_catalog_run("UPDATE aggjobs.run SET steps = steps ||"
						  " jsonb_build_array($2::jsonb) WHERE run_id = $1",
						  AJ_ARGS(aj_arg_int8(run_id), aj_arg_jsonb(result)));
}

/* Carry the outcome of a run over to its job. */
static void
update_job_state(int64 run_id, const char *status)
{
	(void) aj_spi_run("UPDATE aggjobs.job_state s SET last_run_id = r.run_id,"
					  " last_status = r.status,"
					  " last_run_at = coalesce(r.started_at, r.queued_at),"
					  " last_ended_at = r.ended_at,"
					  " failures_in_a_row = CASE"
					  " WHEN $2 = 'succeeded' THEN 0"
					  " WHEN $2 IN ('failed', 'timed_out', 'crashed')"
					  " THEN s.failures_in_a_row + 1"
					  " ELSE s.failures_in_a_row END"
					  " FROM aggjobs.run r"
					  " WHERE r.run_id = $1 AND s.job_id = r.job_id",
					  AJ_ARGS(aj_arg_int8(run_id), aj_arg_text(status)));
}

/*
 * aj_run_finish
 *		Give a run its final status, and its job the outcome.
 *
 * False if the run had one already, or is gone; nothing is changed then.
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
		" WHERE run_id = $1 AND status IN ('queued', 'running')",
		AJ_ARGS(aj_arg_int8(run_id), aj_arg_text(end->status),
				aj_arg_time(aj_now()), aj_arg_text(end->note),
				aj_arg_text(end->error), aj_arg_text(end->sqlstate),
				aj_arg_text(end->detail), aj_arg_text(end->hint),
				aj_arg_text(end->context), aj_arg_int8(end->rows_written),
				aj_arg_int8(used->wal_bytes), aj_arg_int8(used->buffers_hit),
				aj_arg_int8(used->buffers_read),
				aj_arg_int8(used->buffers_written),
				aj_arg_float8(used->cpu_seconds),
				aj_arg_int8(used->peak_memory), aj_arg_int4(end->log_lines),
				aj_arg_int4(end->log_dropped)));
	if (rows > 0)
		update_job_state(run_id, end->status);
	aj_spi_close(&spi);
	return rows > 0;
}

static AjArg
arg_array(Oid array_type, Oid type, int length, char align, bool byval,
		  Datum *values, bool *nulls, int n)
{
	int lower = 1;
	ArrayType *array = construct_md_array(values, nulls, 1, &n, &lower, type,
										  length, byval, align);

	return aj_arg(array_type, PointerGetDatum(array), false);
}

#define arg_int8s(values, n)                                              \
	arg_array(INT8ARRAYOID, INT8OID, 8, TYPALIGN_DOUBLE, FLOAT8PASSBYVAL, \
			  (values), NULL, (n))
#define arg_times(values, nulls, n)                                    \
	arg_array(TIMESTAMPTZARRAYOID, TIMESTAMPTZOID, 8, TYPALIGN_DOUBLE, \
			  FLOAT8PASSBYVAL, (values), (nulls), (n))
#define arg_bools(values, n)                                                 \
	arg_array(BOOLARRAYOID, BOOLOID, 1, TYPALIGN_CHAR, true, (values), NULL, \
			  (n))
#define arg_int4s(values, n) \
	arg_array(INT4ARRAYOID, INT4OID, 4, TYPALIGN_INT, true, (values), NULL, (n))

typedef struct FireColumns
{
	Datum *job_ids;
	Datum *slots;
	Datum *nexts;
	bool *next_nulls;
	Datum *overlaps;
	Datum *missed;
	Datum *first_missed;
	bool *missed_nulls;
} FireColumns;

static void
fill_columns(FireColumns *c, const AjFiredSlot *slots, int n)
{
	Size size = sizeof(Datum) * (Size) n;

	c->job_ids = palloc(size);
	c->slots = palloc(size);
	c->nexts = palloc(size);
	c->next_nulls = palloc(sizeof(bool) * (Size) n);
	c->overlaps = palloc(size);
	c->missed = palloc(size);
	c->first_missed = palloc(size);
	c->missed_nulls = palloc(sizeof(bool) * (Size) n);
	for (int i = 0; i < n; i++)
	{
		c->job_ids[i] = Int64GetDatum(slots[i].job_id);
		c->slots[i] = TimestampTzGetDatum(slots[i].slot);
		c->nexts[i] = TimestampTzGetDatum(slots[i].next_slot);
		c->next_nulls[i] = slots[i].next_slot == AJ_NO_TIME;
		c->overlaps[i] = BoolGetDatum(slots[i].overlap);
		c->missed[i] = Int32GetDatum(slots[i].missed);
		c->first_missed[i] = TimestampTzGetDatum(slots[i].first_missed);
		c->missed_nulls[i] = slots[i].missed == 0;
	}
}

/*
 * aj_runs_fire
 *		Record "n" due slots and plan the slots after them, in one statement.
 *
 * claimed[i] tells whether slots[i] was recorded; it is not if the job was
 * changed, paused or dropped since its plan was read, or is about to be by a
 * transaction that is still open: nobody can stop the clock by waiting.
 */
void
aj_runs_fire(const AjFiredSlot *slots, int n, bool *claimed)
{
	AjSpi spi;
	FireColumns c;
	uint64 rows;

	fill_columns(&c, slots, n);
	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	rows = aj_spi_run(
		"WITH fired AS (SELECT * FROM unnest($1, $2, $3, $4, $5, $6)"
		" AS f (job_id, slot, next_slot, overlap, missed, first_missed)),"
		" free AS (SELECT s.job_id FROM fired f JOIN aggjobs.job_state s"
		" ON s.job_id = f.job_id AND s.next_slot = f.slot"
		" FOR NO KEY UPDATE OF s SKIP LOCKED),"
		" claimed AS (UPDATE aggjobs.job_state s"
		" SET last_slot = f.slot, next_slot = f.next_slot"
		" FROM fired f JOIN aggjobs.job j USING (job_id)"
		" WHERE s.job_id = f.job_id AND s.job_id IN (SELECT job_id FROM free)"
		" AND j.enabled"
		" RETURNING f.*, j.job_name, j.owner),"
		" missed AS (INSERT INTO aggjobs.run (job_id, job_name, owner,"
		" slot, status, trigger, triggered_by, queued_at, ended_at, note)"
		" SELECT job_id, job_name, owner, first_missed, 'missed',"
		" 'schedule', 'scheduler', $7, $7,"
		" format('%s slots were missed from here on: the scheduler did not run', missed)"
		" FROM claimed WHERE missed > 0"
		" ON CONFLICT DO NOTHING)"
		" INSERT INTO aggjobs.run (job_id, job_name, owner, slot,"
		" status, trigger, triggered_by, queued_at, ended_at, note)"
		" SELECT job_id, job_name, owner, slot,"
		" CASE WHEN overlap THEN 'skipped' ELSE 'queued' END,"
		" 'schedule', 'scheduler', $7, CASE WHEN overlap THEN $7 END,"
		" CASE WHEN overlap THEN 'an earlier run of the job was not over' END"
		" FROM claimed ON CONFLICT DO NOTHING RETURNING job_id",
		AJ_ARGS(arg_int8s(c.job_ids, n), arg_times(c.slots, NULL, n),
				arg_times(c.nexts, c.next_nulls, n), arg_bools(c.overlaps, n),
				arg_int4s(c.missed, n),
				arg_times(c.first_missed, c.missed_nulls, n),
				aj_arg_time(aj_now())));
	for (int i = 0; i < n; i++)
	{
		claimed[i] = false;
		for (uint64 row = 0; row < rows && !claimed[i]; row++)
			claimed[i] = aj_spi_int8(row, 1, 0) == slots[i].job_id;
	}
	aj_spi_close(&spi);
}

/*
 * aj_runs_queued
 *		The oldest queued run of each job, the oldest of these first, at most
 *		"limit" of them, in "context".
 */
AjQueuedRun *
aj_runs_queued(int limit, int *n, MemoryContext context)
{
	AjSpi spi;
	AjQueuedRun *runs;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run("SELECT q.* FROM (SELECT DISTINCT ON (r.job_id)"
						  " r.run_id, r.job_id, r.owner::oid,"
						  " count(*) OVER (PARTITION BY r.job_id) > 1"
						  " FROM aggjobs.run r WHERE r.status = 'queued'"
						  " ORDER BY r.job_id, r.run_id) q"
						  " ORDER BY q.run_id LIMIT $1",
						  AJ_ARGS(aj_arg_int8(limit)));
	runs = MemoryContextAlloc(context, sizeof(AjQueuedRun) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		runs[i].run_id = aj_spi_int8((uint64) i, 1, 0);
		runs[i].job_id = aj_spi_int8((uint64) i, 2, 0);
		runs[i].owner = aj_spi_oid((uint64) i, 3);
		runs[i].has_more = aj_spi_bool((uint64) i, 4);
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

/*
 * aj_run_cancel_session
 *		Cancel what the session does that has this run; false if none has it.
 *
 * The session is known by its pid and its start.
 */
bool
aj_run_cancel_session(int64 run_id)
{
	AjSpi spi;
	bool cancelled = false;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT pg_cancel_backend(a.pid) FROM aggjobs.run r"
				   " JOIN pg_stat_activity a ON a.pid = r.worker_pid"
				   " AND a.backend_start = r.worker_start"
				   " WHERE r.run_id = $1 AND r.status = 'running'"
				   " AND a.state = 'active'",
				   AJ_ARGS(aj_arg_int8(run_id))) > 0)
		cancelled = aj_spi_bool(0, 1);
	aj_spi_close(&spi);
	return cancelled;
}

/* The ids that a query with one parameter selects, in "context". */
static int64 *
select_ids(const char *select, AjArg arg, int *n, MemoryContext context)
{
	AjSpi spi;
	int64 *ids;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run(select, AJ_ARGS(arg));
	ids = MemoryContextAlloc(context, sizeof(int64) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
		ids[i] = aj_spi_int8((uint64) i, 1, 0);
	aj_spi_close(&spi);
	return ids;
}

/*
 * aj_runs_orphaned
 *		The running runs whose process is gone, of one job, or of all if
 *		"job_id" is 0, in "context".
 *
 * A process is known by its pid and its start, so a pid that was used again
 * does not keep a dead run alive.  A client's session that is idle runs
 * nothing, whatever it did before.
 */
int64 *
aj_runs_orphaned(int64 job_id, int *n, MemoryContext context)
{
	return select_ids("SELECT r.run_id FROM aggjobs.run r"
					  " WHERE r.status = 'running'"
					  " AND r.status IN ('queued', 'running')"
					  " AND ($1 = 0 OR r.job_id = $1)"
					  " AND NOT EXISTS (SELECT FROM pg_stat_activity a"
					  " WHERE a.pid = r.worker_pid"
					  " AND a.backend_start = r.worker_start"
					  " AND (a.backend_type <> 'client backend'"
					  " OR a.state IS DISTINCT FROM 'idle'))",
					  aj_arg_int8(job_id), n, context);
}

/* Give a run whose process is gone the status "crashed". */
void
aj_run_crash(int64 run_id)
{
	AjRunEnd end = {
		.status = "crashed",
		.error = "the process of the run ended without a word",
		.hint = "The server's log may tell why it ended.",
	};

	(void) aj_run_finish(run_id, &end);
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

	ids = select_ids("SELECT r.run_id FROM aggjobs.run r"
					 " JOIN aggjobs.job j USING (job_id)"
					 " WHERE r.status = 'queued'"
					 " AND r.status IN ('queued', 'running')"
					 " AND j.database_oid <> $1",
					 aj_arg_oid(MyDatabaseId), &n, CurrentMemoryContext);
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
		" AND r.ended_at < $1 - coalesce(j.keep_age,"
		" make_interval(mins => $2))"
		" ORDER BY r.run_id LIMIT $3)" REMOVE_DOOMED,
		AJ_ARGS(aj_arg_time(aj_now()), aj_arg_int4(keep_minutes),
				aj_arg_int8(limit)));
}
