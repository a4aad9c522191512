/*-------------------------------------------------------------------------
 *
 * backfill.c
 *	  aggjobs.backfill: long work that is cut into chunks, and who does it.
 *
 * Every function needs a transaction and works with the rights of the
 * extension's owner.
 *
 * A worker is a job of its own, with a step of kind "backfill", so that its
 * run has all that runs have: an owner whose rights are checked, log lines,
 * figures, and another attempt after a crash.  Where a run needs the outcome,
 * it leads: it is worker 1 itself, the job of that number waits for the time
 * that it has no leader any more, and with the run ends the backfill.  Another
 * attempt at that run takes it up again.
 *
 * Locks: the row of the backfill while its state changes.  The chunks are in
 * chunk.c.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/backfill.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/clock.h"
#include "base/spi.h"
#include "catalog/backfill.h"
#include "catalog/run.h"
#include "miscadmin.h"
#include "shmem/slots.h"
#include "shmem/wake.h"

/* Attempts at the run of a worker after crashes, before it is given up. */
#define WORKER_RETRIES "100"
#define REPLACE_DELAY_MS 1000

/* Store a new backfill, without chunks and workers; returns its id. */
int64
aj_backfill_insert(const AjBackfill *backfill)
{
	AjSpi spi;
	int64 id;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run(
		"INSERT INTO aggjobs.backfill (backfill_name, from_time, to_time,"
		" workers, newest_first, created_at, chunk_width, step, run_id)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, nullif($9, 0))"
		" RETURNING backfill_id",
		AJ_ARGS(aj_arg_text(backfill->name), aj_arg_time(backfill->range.from),
				aj_arg_time(backfill->range.to), aj_arg_int4(backfill->workers),
				aj_arg_bool(backfill->newest_first), aj_arg_time(aj_now()),
				aj_arg_interval(backfill->chunk_width),
				aj_arg_jsonb(backfill->step), aj_arg_int8(backfill->run_id)));
	id = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return id;
}

/* The backfill with this id, or NULL. */
AjBackfill *
aj_backfill_find(int64 backfill_id)
{
	MemoryContext context = CurrentMemoryContext;
	AjBackfill *backfill = NULL;
	AjSpi spi;
	bool isnull;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT b.backfill_name, b.from_time, b.to_time, b.workers,"
				   " b.newest_first, b.state, (SELECT j.owner::oid"
				   " FROM aggjobs.job j WHERE j.backfill_id = b.backfill_id"
				   " LIMIT 1), b.xmin, b.chunk_width, b.step, b.run_id,"
				   " coalesce(b.step ? 'types', false)"
				   " FROM aggjobs.backfill b WHERE b.backfill_id = $1",
				   AJ_ARGS(aj_arg_int8(backfill_id))) > 0)
	{
		backfill = MemoryContextAllocZero(context, sizeof(AjBackfill));
		backfill->backfill_id = backfill_id;
		backfill->name = aj_spi_text(0, 1, context);
		backfill->range.from = aj_spi_time(0, 2, DT_NOBEGIN);
		backfill->range.to = aj_spi_time(0, 3, DT_NOEND);
		backfill->workers = (int) aj_spi_int8(0, 4, 1);
		backfill->newest_first = aj_spi_bool(0, 5);
		backfill->state = aj_spi_text(0, 6, context);
		backfill->owner = aj_spi_oid(0, 7);
		backfill->uncommitted = TransactionIdIsCurrentTransactionId(
			DatumGetTransactionId(aj_spi_datum(0, 8, &isnull)));
		backfill->chunk_width = aj_spi_interval(0, 9, context);
		backfill->step = aj_spi_jsonb(0, 10, context);
		backfill->run_id = aj_spi_int8(0, 11, 0);
		backfill->has_parts = aj_spi_bool(0, 12);
	}
	aj_spi_close(&spi);
	return backfill;
}

/*
 * aj_backfill_allowed
 *		The backfill with this id.
 *
 * Errors: 42704 if there is none; 42501 if the current user is not a member of
 * the role of its workers.
 */
AjBackfill *
aj_backfill_allowed(int64 backfill_id)
{
	AjBackfill *backfill = aj_backfill_find(backfill_id);

	if (backfill == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("backfill " INT64_FORMAT " does not exist",
						backfill_id),
				 errhint("List them with SELECT * FROM aggjobs.backfills; "
						 "SELECT aggjobs_backfill(name, ...) makes one.")));
	if (!has_privs_of_role(GetUserId(), backfill->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for backfill " INT64_FORMAT,
						backfill_id)));
	return backfill;
}

/* The state of a backfill as committed now, or NULL if it is gone. */
char *
aj_backfill_state_latest(int64 backfill_id)
{
	MemoryContext context = CurrentMemoryContext;
	char *state = NULL;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_read_latest("SELECT b.state FROM aggjobs.backfill b"
						   " WHERE b.backfill_id = $1",
						   AJ_ARGS(aj_arg_int8(backfill_id))) > 0)
		state = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	return state;
}

/* Move a backfill from one state to another; false if it was not in that. */
bool
aj_backfill_move(int64 backfill_id, const char *from, const char *to)
{
	return aj_catalog_run(
			   "UPDATE aggjobs.backfill SET state = $3,"
			   " ended_at = CASE WHEN $3 NOT IN ('running', 'paused')"
			   " THEN $4::timestamptz END"
			   " WHERE backfill_id = $1 AND state = $2",
			   AJ_ARGS(aj_arg_int8(backfill_id), aj_arg_text(from),
					   aj_arg_text(to), aj_arg_time(aj_now()))) > 0;
}

void
aj_backfill_set_workers(int64 backfill_id, int workers)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.backfill SET workers = $2 WHERE backfill_id = $1",
		AJ_ARGS(aj_arg_int8(backfill_id), aj_arg_int4(workers)));
}

/* All chunks are over: so is the backfill. */
void
aj_backfill_finish(int64 backfill_id)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.backfill b SET ended_at = $2, state = CASE WHEN EXISTS"
		" (SELECT FROM aggjobs.chunk c WHERE c.backfill_id = b.backfill_id"
		" AND c.state = 'failed') THEN 'failed' ELSE 'succeeded' END"
		" WHERE b.backfill_id = $1 AND b.state = 'running' AND NOT EXISTS"
		" (SELECT FROM aggjobs.chunk c WHERE c.backfill_id = b.backfill_id"
		" AND c.state IN ('waiting', 'running'))",
		AJ_ARGS(aj_arg_int8(backfill_id), aj_arg_time(aj_now())));
}

/* Chunks that were given up wait again, and all that is computed from them. */
void
aj_backfill_retry_failed(int64 backfill_id)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.chunk c SET state = 'waiting', attempts = 0,"
		" ready_at = NULL, worker = NULL, run_id = NULL, ended_at = NULL"
		" WHERE c.backfill_id = $1 AND (c.state = 'failed' OR EXISTS"
		" (SELECT FROM aggjobs.chunk b WHERE b.backfill_id = $1"
		" AND b.state = 'failed' AND b.stage < c.stage"
		" AND b.from_time < c.to_time AND b.to_time > c.from_time))",
		AJ_ARGS(aj_arg_int8(backfill_id)));
}

/* How many chunks are not done. */
int
aj_backfill_chunks_left(int64 backfill_id)
{
	AjSpi spi;
	int left;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run("SELECT count(*) FROM aggjobs.chunk c"
					  " WHERE c.backfill_id = $1"
					  " AND c.state NOT IN ('done', 'skipped')",
					  AJ_ARGS(aj_arg_int8(backfill_id)));
	left = (int) aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return left;
}

/* How many chunks are done, and how many there are, as committed now. */
int
aj_backfill_done_latest(int64 backfill_id, int *chunks)
{
	AjSpi spi;
	int done;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_read_latest("SELECT count(*) FILTER ("
							  "WHERE c.state IN ('done', 'skipped')),"
							  " count(*) FROM aggjobs.chunk c"
							  " WHERE c.backfill_id = $1",
							  AJ_ARGS(aj_arg_int8(backfill_id)));
	done = (int) aj_spi_int8(0, 1, 0);
	*chunks = (int) aj_spi_int8(0, 2, 0);
	aj_spi_close(&spi);
	return done;
}

/* Rows that were written by others than a run, as committed now. */
int64
aj_backfill_rows_of_others(int64 backfill_id, int64 run_id)
{
	AjSpi spi;
	int64 rows;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_read_latest("SELECT sum(c.rows_written)::bigint"
							  " FROM aggjobs.chunk c WHERE c.backfill_id = $1"
							  " AND c.run_id <> $2",
							  AJ_ARGS(aj_arg_int8(backfill_id),
									  aj_arg_int8(run_id)));
	rows = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return rows;
}

/*
 * aj_backfill_first_error
 *		Of the chunks that were given up, how many they are, and the error and
 *		SQLSTATE of the first; NULL if there are none.
 */
char *
aj_backfill_first_error(int64 backfill_id, int *failed, char **sqlstate)
{
	MemoryContext context = CurrentMemoryContext;
	char *message = NULL;
	AjSpi spi;

	*failed = 0;
	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT c.error, c.sqlstate, count(*) OVER ()"
				   " FROM aggjobs.chunk c WHERE c.backfill_id = $1"
				   " AND c.state = 'failed' ORDER BY c.ended_at, c.chunk_no"
				   " LIMIT 1",
				   AJ_ARGS(aj_arg_int8(backfill_id))) > 0)
	{
		message = aj_spi_text(0, 1, context);
		*sqlstate = aj_spi_text(0, 2, context);
		*failed = (int) aj_spi_int8(0, 3, 0);
	}
	aj_spi_close(&spi);
	return message;
}

/*
 * aj_backfill_add_worker
 *		A job that is one worker of a backfill, unless there is one already,
 *		with the settings and limits of the job whose work it does, or of the
 *		first worker.
 */
void
aj_backfill_add_worker(const AjBackfill *backfill, int worker,
					   const AjBackfillOwner *owner)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run(
			"INSERT INTO aggjobs.job (job_name, description, owner, owner_name,"
			" steps, retries, priority, database_oid, backfill_id, settings,"
			" memory_limit, nice)"
			" SELECT format('backfill %s worker %s', $1, $2),"
			" format('works at the backfill of %s', $3::text), $4, $5,"
			" jsonb_build_array(jsonb_build_object('kind', 'backfill',"
			" 'backfill', $1, 'worker', $2)), " WORKER_RETRIES ", -100, $6, $1,"
			" coalesce(p.settings, '{}'), p.memory_limit, coalesce(p.nice, 0)"
			" FROM (SELECT) s LEFT JOIN aggjobs.job p ON p.job_id = $7"
			" OR $7 = 0 AND p.job_name = format('backfill %s worker 1', $1)"
			" ON CONFLICT (job_name) DO NOTHING RETURNING job_id",
			AJ_ARGS(aj_arg_int8(backfill->backfill_id), aj_arg_int4(worker),
					aj_arg_text(backfill->name), aj_arg_oid(owner->owner),
					aj_arg_text(owner->owner_name), aj_arg_oid(MyDatabaseId),
					aj_arg_int8(owner->job_id))) > 0)
		(void) aj_spi_run("INSERT INTO aggjobs.job_state (job_id) VALUES ($1)",
						  AJ_ARGS(aj_arg_int8(aj_spi_int8(0, 1, 0))));
	aj_spi_close(&spi);
}

/*
 * aj_backfill_queue_runs
 *		Queue a run for each worker of a backfill that has none, in so many
 *		milliseconds, if it is running.  Workers beyond the number that is
 *		wanted get none, nor does the first if a run is in its place.
 */
void
aj_backfill_queue_runs(int64 backfill_id, int delay_ms)
{
	TimestampTz now = aj_now();

	if (aj_catalog_run(
			"INSERT INTO aggjobs.run (job_id, job_name, owner, status, trigger,"
			" queued_at, ready_at) SELECT j.job_id, j.job_name, j.owner,"
			" 'queued', 'backfill', $2, $3 FROM aggjobs.backfill b"
			" JOIN aggjobs.job j USING (backfill_id) WHERE b.backfill_id = $1"
			" AND b.state = 'running' AND (j.steps -> 0 ->> 'worker')::integer"
			" BETWEEN CASE WHEN b.run_id IS NULL THEN 1 ELSE 2 END AND b.workers"
			" AND NOT EXISTS (SELECT FROM aggjobs.run r"
			" WHERE r.job_id = j.job_id AND r.status IN ('queued', 'running'))",
			AJ_ARGS(aj_arg_int8(backfill_id), aj_arg_time(now),
					aj_arg_time(delay_ms == 0 ? AJ_NO_TIME
											  : TimestampTzPlusMilliseconds(
													now, delay_ms)))) > 0)
		aj_wake_runs();
}

/*
 * aj_backfills_pause_copied
 *		Pause what goes on in the database of which this one is a copy; here it
 *		does when it is resumed.  What a run leads ends with the copy of the run.
 */
void
aj_backfills_pause_copied(void)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.backfill b SET state = 'paused'"
		" WHERE b.state = 'running' AND b.run_id IS NULL"
		" AND EXISTS (SELECT FROM aggjobs.job j"
		" WHERE j.backfill_id = b.backfill_id AND j.database_oid <> $1)",
		AJ_ARGS(aj_arg_oid(MyDatabaseId)));
}

/*
 * aj_backfill_take_up
 *		Go on, in this database, with what was paused or over.
 */
void
aj_backfill_take_up(int64 backfill_id)
{
	(void) aj_catalog_run("UPDATE aggjobs.job SET database_oid = $2"
						  " WHERE backfill_id = $1 AND database_oid <> $2",
						  AJ_ARGS(aj_arg_int8(backfill_id),
								  aj_arg_oid(MyDatabaseId)));
	aj_backfill_queue_runs(backfill_id, 0);
}

/* No worker is left, and none will come: so the backfill has failed. */
static void
fail_without_workers(int64 backfill_id)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.backfill b SET state = 'failed', ended_at = $2"
		" WHERE b.backfill_id = $1 AND b.state = 'running'"
		" AND NOT EXISTS (SELECT FROM aggjobs.job j JOIN aggjobs.run r"
		" USING (job_id) WHERE j.backfill_id = b.backfill_id"
		" AND r.status IN ('queued', 'running'))"
		" AND NOT EXISTS (SELECT FROM aggjobs.run r"
		" WHERE r.run_id = b.run_id AND r.status IN ('queued', 'running'))",
		AJ_ARGS(aj_arg_int8(backfill_id), aj_arg_time(aj_now())));
}

/*
 * aj_backfill_worker_ended
 *		A run has ended, in this transaction.  If it was that of a worker, and
 *		its backfill goes on, another takes its place, unless it failed for a
 *		reason that stays, or too often.
 *
 * The row of the backfill is locked before its state is read: who resumes it,
 * or wants more workers, changes that row before he looks for workers.
 */
void
aj_backfill_worker_ended(int64 run_id, bool failed)
{
	AjSpi spi;
	int64 backfill_id = 0;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT b.backfill_id FROM aggjobs.run r"
				   " JOIN aggjobs.job j USING (job_id)"
				   " JOIN aggjobs.backfill b USING (backfill_id)"
				   " WHERE r.run_id = $1 FOR SHARE OF b",
				   AJ_ARGS(aj_arg_int8(run_id))) > 0)
		backfill_id = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	if (backfill_id == 0)
		return;
	if (failed)
		fail_without_workers(backfill_id);
	else
		aj_backfill_queue_runs(backfill_id, REPLACE_DELAY_MS);
}

/* The queued and running runs of a backfill's workers, and the one that leads. */
int64 *
aj_backfill_runs(int64 backfill_id, int *n)
{
	return aj_catalog_ids(
		"SELECT r.run_id FROM aggjobs.run r"
		" WHERE r.status IN ('queued', 'running')"
		" AND (r.job_id IN (SELECT j.job_id FROM aggjobs.job j"
		" WHERE j.backfill_id = $1) OR r.run_id = (SELECT"
		" b.run_id FROM aggjobs.backfill b"
		" WHERE b.backfill_id = $1))",
		AJ_ARGS(aj_arg_int8(backfill_id)), n, CurrentMemoryContext);
}

/*
 * aj_backfill_stop
 *		Stop the runs of a backfill's workers; queued ones will not start.
 */
void
aj_backfill_stop(int64 backfill_id, const char *note)
{
	int n;
	int64 *runs = aj_backfill_runs(backfill_id, &n);
	AjRunEnd end = {.status = "cancelled", .note = note};

	for (int i = 0; i < n; i++)
	{
		if (aj_run_is_queued(runs[i]))
			(void) aj_run_finish(runs[i], &end);
		(void) aj_slots_stop_run(MyDatabaseId, runs[i], AJ_STOP_CANCEL, note);
	}
}

/*
 * aj_backfills_end_with
 *		A run has ended without success: so does what it leads.  What is done
 *		stays done, for another attempt at it.
 */
void
aj_backfills_end_with(int64 run_id)
{
	int n;
	int64 *led = aj_catalog_ids(
		"UPDATE aggjobs.backfill b SET state = 'cancelled', ended_at = $2"
		" WHERE b.run_id = $1 AND b.state IN ('running', 'paused')"
		" RETURNING b.backfill_id",
		AJ_ARGS(aj_arg_int8(run_id), aj_arg_time(aj_now())), &n,
		CurrentMemoryContext);

	for (int i = 0; i < n; i++)
		aj_backfill_stop(led[i],
						 psprintf("run " INT64_FORMAT
								  ", which began the backfill, has ended",
								  run_id));
}

/*
 * aj_backfill_adopt
 *		Have a run lead what an earlier attempt at it began with the same step
 *		and did not bring to its end; its id, or 0 if there is none.
 */
int64
aj_backfill_adopt(int64 run_id, const Jsonb *step)
{
	AjSpi spi;
	int64 id = 0;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run(
			"WITH RECURSIVE attempt AS (SELECT r.retry_of FROM aggjobs.run r"
			" WHERE r.run_id = $1 UNION SELECT r.retry_of FROM aggjobs.run r"
			" JOIN attempt a ON r.run_id = a.retry_of)"
			" UPDATE aggjobs.backfill b SET run_id = $1, state = 'running',"
			" ended_at = NULL WHERE b.run_id IN (SELECT a.retry_of"
			" FROM attempt a) AND b.step -> 'step' = $2 AND b.state <> 'succeeded'"
			" RETURNING b.backfill_id",
			AJ_ARGS(aj_arg_int8(run_id), aj_arg_jsonb(step))) > 0)
		id = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return id;
}

/* No run leads the backfill any more: all its workers are jobs. */
void
aj_backfill_leave(int64 backfill_id)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.backfill SET run_id = NULL WHERE backfill_id = $1",
		AJ_ARGS(aj_arg_int8(backfill_id)));
}

/* A copy was made. */
void
aj_backfill_add_copy(int64 backfill_id, const AjBackfillCopy *copy)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.backfill_copy (backfill_id, rollup_name, target,"
		" copy, from_time, to_time) VALUES ($1, $2, $3, $4, $5, $6)",
		AJ_ARGS(aj_arg_int8(backfill_id), aj_arg_text(copy->rollup),
				aj_arg_oid(copy->target), aj_arg_oid(copy->copy),
				aj_arg_time(copy->range.from), aj_arg_time(copy->range.to)));
}

/* The copies from before a backfill. */
AjBackfillCopy *
aj_backfill_copies(int64 backfill_id, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjBackfillCopy *copies;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run("SELECT c.rollup_name, c.target::oid, c.copy::oid,"
						  " c.from_time, c.to_time FROM aggjobs.backfill_copy c"
						  " WHERE c.backfill_id = $1 ORDER BY c.rollup_name",
						  AJ_ARGS(aj_arg_int8(backfill_id)));
	copies = MemoryContextAllocZero(context,
									sizeof(AjBackfillCopy) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		copies[i].rollup = aj_spi_text((uint64) i, 1, context);
		copies[i].target = aj_spi_oid((uint64) i, 2);
		copies[i].copy = aj_spi_oid((uint64) i, 3);
		copies[i].range.from = aj_spi_time((uint64) i, 4, DT_NOBEGIN);
		copies[i].range.to = aj_spi_time((uint64) i, 5, DT_NOEND);
	}
	aj_spi_close(&spi);
	return copies;
}

/* The copies are gone. */
void
aj_backfill_forget_copies(int64 backfill_id)
{
	(void) aj_catalog_run(
		"DELETE FROM aggjobs.backfill_copy WHERE backfill_id = $1",
		AJ_ARGS(aj_arg_int8(backfill_id)));
}

/*
 * aj_backfills_prune
 *		Remove backfills that ended so many minutes ago, with their jobs, but
 *		for those with copies, and end those whose leading run has died with
 *		the server.
 */
void
aj_backfills_prune(int keep_minutes)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.backfill b SET state = 'cancelled', ended_at = $1"
		" WHERE b.state IN ('running', 'paused') AND b.run_id IS NOT NULL"
		" AND NOT EXISTS (SELECT FROM aggjobs.run r WHERE r.run_id = b.run_id"
		" AND r.status IN ('queued', 'running'))",
		AJ_ARGS(aj_arg_time(aj_now())));
	(void) aj_catalog_run("DELETE FROM aggjobs.backfill b"
						  " WHERE b.ended_at < $1 - make_interval(mins => $2)"
						  " AND NOT EXISTS (SELECT FROM aggjobs.backfill_copy c"
						  " WHERE c.backfill_id = b.backfill_id)",
						  AJ_ARGS(aj_arg_time(aj_now()),
								  aj_arg_int4(keep_minutes)));
}
