/*-------------------------------------------------------------------------
 *
 * backfill.c
 *	  aggjobs.backfill and aggjobs.chunk: long refreshes, piece by piece.
 *
 * Every function needs a transaction and works with the rights of the
 * extension's owner.
 *
 * A chunk is "waiting" until a worker takes it, in a transaction of its own
 * that also counts the attempt; "done" is written by the transaction that did
 * the work, so that after any death it is done or was never begun.  One that
 * is "running" in a run that is over has lost its worker, and counts as
 * waiting.
 *
 * A worker is a job of its own, with a step of kind "backfill", so that its
 * run has all that runs have: an owner whose rights are checked, log lines,
 * figures, and another attempt after a crash.
 *
 * Locks: the row of a chunk while it is taken (SKIP LOCKED); the row of the
 * backfill while its state changes.
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
#include "miscadmin.h"

/* Nothing but the death of processes ends a worker: others start in its place. */
#define WORKER_RETRIES "100"

static const char *const kind_names[] = {
	[AJ_CHUNK_PREPARE] = "prepare",
	[AJ_CHUNK_RANGE] = "range",
	[AJ_CHUNK_STEP] = "step",
};

/* Store a new backfill, without chunks and workers; returns its id. */
int64
aj_backfill_insert(const AjBackfill *backfill)
{
	AjSpi spi;
	int64 id;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run(
		"INSERT INTO aggjobs.backfill (backfill_name, from_time, to_time,"
		" workers, newest_first, created_at) VALUES ($1, $2, $3, $4, $5, $6)"
		" RETURNING backfill_id",
		AJ_ARGS(aj_arg_text(backfill->name), aj_arg_time(backfill->range.from),
				aj_arg_time(backfill->range.to), aj_arg_int4(backfill->workers),
				aj_arg_bool(backfill->newest_first), aj_arg_time(aj_now())));
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
				   " LIMIT 1), b.xmin FROM aggjobs.backfill b"
				   " WHERE b.backfill_id = $1",
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
	}
	aj_spi_close(&spi);
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
					  " WHERE c.backfill_id = $1 AND c.state <> 'done'",
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
	(void) aj_spi_read_latest("SELECT count(*) FILTER (WHERE c.state = 'done'),"
							  " count(*) FROM aggjobs.chunk c"
							  " WHERE c.backfill_id = $1",
							  AJ_ARGS(aj_arg_int8(backfill_id)));
	done = (int) aj_spi_int8(0, 1, 0);
	*chunks = (int) aj_spi_int8(0, 2, 0);
	aj_spi_close(&spi);
	return done;
}

/* A job that is one worker of a backfill, unless there is one already. */
void
aj_backfill_add_worker(const AjBackfill *backfill, int worker, Oid owner,
					   const char *owner_name)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run(
			"INSERT INTO aggjobs.job (job_name, description, owner, owner_name,"
			" steps, retries, priority, database_oid, backfill_id)"
			" VALUES (format('backfill %s worker %s', $1, $2),"
			" format('works at the backfill of %s', $3::text), $4, $5,"
			" jsonb_build_array(jsonb_build_object('kind', 'backfill',"
			" 'backfill', $1, 'worker', $2)), " WORKER_RETRIES ", -100, $6, $1)"
			" ON CONFLICT (job_name) DO NOTHING RETURNING job_id",
			AJ_ARGS(aj_arg_int8(backfill->backfill_id), aj_arg_int4(worker),
					aj_arg_text(backfill->name), aj_arg_oid(owner),
					aj_arg_text(owner_name), aj_arg_oid(MyDatabaseId))) > 0)
		(void) aj_spi_run("INSERT INTO aggjobs.job_state (job_id) VALUES ($1)",
						  AJ_ARGS(aj_arg_int8(aj_spi_int8(0, 1, 0))));
	aj_spi_close(&spi);
}

/*
 * aj_backfill_queue_runs
 *		Queue a run for each worker of a backfill that has none.  Workers
 *		beyond the number that is wanted get none.
 */
void
aj_backfill_queue_runs(int64 backfill_id)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.run (job_id, job_name, owner, status, trigger,"
		" queued_at) SELECT j.job_id, j.job_name, j.owner, 'queued',"
		" 'backfill', $2 FROM aggjobs.backfill b"
		" JOIN aggjobs.job j USING (backfill_id) WHERE b.backfill_id = $1"
		" AND (j.steps -> 0 ->> 'worker')::integer <= b.workers"
		" AND NOT EXISTS (SELECT FROM aggjobs.run r WHERE r.job_id = j.job_id"
		" AND r.status IN ('queued', 'running'))",
		AJ_ARGS(aj_arg_int8(backfill_id), aj_arg_time(aj_now())));
}

/* The queued and running runs of a backfill's workers. */
int64 *
aj_backfill_runs(int64 backfill_id, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	int64 *ids;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run("SELECT r.run_id FROM aggjobs.run r"
						  " JOIN aggjobs.job j USING (job_id)"
						  " WHERE j.backfill_id = $1"
						  " AND r.status IN ('queued', 'running')",
						  AJ_ARGS(aj_arg_int8(backfill_id)));
	ids = MemoryContextAlloc(context, sizeof(int64) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
		ids[i] = aj_spi_int8((uint64) i, 1, 0);
	aj_spi_close(&spi);
	return ids;
}

/* Remove backfills that ended so many minutes ago, with their jobs. */
void
aj_backfills_prune(int keep_minutes)
{
	(void) aj_catalog_run("DELETE FROM aggjobs.backfill b"
						  " WHERE b.ended_at < $1 - make_interval(mins => $2)",
						  AJ_ARGS(aj_arg_time(aj_now()),
								  aj_arg_int4(keep_minutes)));
}

/* Store a chunk that waits. */
void
aj_chunk_insert(const AjChunk *chunk)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.chunk (backfill_id, chunk_no, stage, kind,"
		" rollup_name, from_time, to_time, step)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_int4(chunk->chunk_no),
				aj_arg_int4(chunk->stage), aj_arg_text(kind_names[chunk->kind]),
				aj_arg_text(chunk->rollup), aj_arg_time(chunk->range.from),
				aj_arg_time(chunk->range.to), aj_arg_jsonb(chunk->step)));
}

/* The ranges of the chunks of a rollup in a backfill, in order. */
AjRange *
aj_chunk_ranges(int64 backfill_id, const char *rollup, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjRange *ranges;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run("SELECT c.from_time, c.to_time FROM aggjobs.chunk c"
						  " WHERE c.backfill_id = $1 AND c.rollup_name = $2"
						  " AND c.kind = 'range' ORDER BY 1",
						  AJ_ARGS(aj_arg_int8(backfill_id),
								  aj_arg_text(rollup)));
	ranges = MemoryContextAlloc(context, sizeof(AjRange) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		ranges[i].from = aj_spi_time((uint64) i, 1, DT_NOBEGIN);
		ranges[i].to = aj_spi_time((uint64) i, 2, DT_NOEND);
	}
	aj_spi_close(&spi);
	return ranges;
}

static AjChunkKind
kind_from_text(const char *text)
{
	for (int i = 0; i < (int) lengthof(kind_names); i++)
		if (strcmp(kind_names[i], text) == 0)
			return (AjChunkKind) i;
	elog(ERROR, "unknown kind of chunk \"%s\"", text);
}

/* Chunks whose worker is gone wait again. */
static void
release_lost(int64 backfill_id)
{
	(void) aj_spi_run("UPDATE aggjobs.chunk c SET state = 'waiting'"
					  " WHERE c.backfill_id = $1 AND c.state = 'running'"
					  " AND NOT EXISTS (SELECT FROM aggjobs.run r"
					  " WHERE r.run_id = c.run_id AND r.status = 'running')",
					  AJ_ARGS(aj_arg_int8(backfill_id)));
}

#define TAKE(order)                                                            \
	"UPDATE aggjobs.chunk SET state = 'running', worker = $2, run_id = $3,"    \
	" started_at = $4, attempts = attempts + 1"                                \
	" WHERE backfill_id = $1 AND chunk_no = (SELECT c.chunk_no"                \
	" FROM aggjobs.chunk c WHERE c.backfill_id = $1"                           \
	" AND c.state = 'waiting' AND (c.ready_at IS NULL OR c.ready_at <= $4)"    \
	" AND NOT EXISTS (SELECT FROM aggjobs.chunk b"                             \
	" WHERE b.backfill_id = $1 AND b.stage < c.stage"                          \
	" AND b.state IN ('waiting', 'running')"                                   \
	" AND b.from_time < c.to_time AND b.to_time > c.from_time)"                \
	" ORDER BY " order " LIMIT 1 FOR UPDATE SKIP LOCKED)"                      \
	" RETURNING chunk_no, stage, kind, rollup_name, from_time, to_time, step," \
	" attempts"

/*
 * The next chunk, and take it.  The order within a range is that of stages, so
 * that what is above is computed as soon as what is below it is.
 */
static bool
take(const AjBackfill *backfill, int worker, int64 run_id, AjChunk *chunk,
	 MemoryContext context)
{
	const char *sql = backfill->newest_first
		? TAKE("c.to_time DESC, c.stage, c.chunk_no")
		: TAKE("c.from_time, c.stage, c.chunk_no");

	if (aj_spi_run(sql,
				   AJ_ARGS(aj_arg_int8(backfill->backfill_id),
						   aj_arg_int4(worker), aj_arg_int8(run_id),
						   aj_arg_time(aj_now()))) == 0)
		return false;
	chunk->backfill_id = backfill->backfill_id;
	chunk->chunk_no = (int) aj_spi_int8(0, 1, 0);
	chunk->stage = (int) aj_spi_int8(0, 2, 0);
	chunk->kind = kind_from_text(aj_spi_text(0, 3, context));
	chunk->rollup = aj_spi_text(0, 4, context);
	chunk->range.from = aj_spi_time(0, 5, DT_NOBEGIN);
	chunk->range.to = aj_spi_time(0, 6, DT_NOEND);
	chunk->step = aj_spi_jsonb(0, 7, context);
	chunk->attempts = (int) aj_spi_int8(0, 8, 1);
	return true;
}

static bool
any_open(int64 backfill_id)
{
	return aj_spi_run("SELECT FROM aggjobs.chunk c WHERE c.backfill_id = $1"
					  " AND c.state IN ('waiting', 'running') LIMIT 1",
					  AJ_ARGS(aj_arg_int8(backfill_id))) > 0;
}

/*
 * aj_chunk_take
 *		Take the next chunk of a backfill for a worker, in its run; the caller
 *		commits.  *chunk lives in the current memory context.
 */
AjChunkTaken
aj_chunk_take(const AjBackfill *backfill, int worker, int64 run_id,
			  AjChunk *chunk)
{
	MemoryContext context = CurrentMemoryContext;
	AjChunkTaken taken = AJ_CHUNK_NOTHING;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT FROM aggjobs.backfill b WHERE b.backfill_id = $1"
				   " AND b.state = 'running' AND b.workers >= $2"
				   " FOR KEY SHARE",
				   AJ_ARGS(aj_arg_int8(backfill->backfill_id),
						   aj_arg_int4(worker))) > 0)
	{
		release_lost(backfill->backfill_id);
		if (take(backfill, worker, run_id, chunk, context))
			taken = AJ_CHUNK_TAKEN;
		else if (any_open(backfill->backfill_id))
			taken = AJ_CHUNK_LATER;
	}
	if (taken == AJ_CHUNK_TAKEN)
		(void) aj_spi_run("UPDATE aggjobs.backfill SET started_at = $2"
						  " WHERE backfill_id = $1 AND started_at IS NULL",
						  AJ_ARGS(aj_arg_int8(backfill->backfill_id),
								  aj_arg_time(aj_now())));
	aj_spi_close(&spi);
	return taken;
}

/* The chunk is done, by this transaction. */
void
aj_chunk_done(const AjChunk *chunk, const AjChunkDone *done)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.chunk SET state = 'done', ended_at = $3,"
		" rows_read = $4, rows_deleted = $5, rows_written = $6,"
		" wal_bytes = $7, cpu_seconds = $8, error = NULL, sqlstate = NULL"
		" WHERE backfill_id = $1 AND chunk_no = $2",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_int4(chunk->chunk_no),
				aj_arg_time(aj_now()), aj_arg_int8(done->rows_read),
				aj_arg_int8(done->rows_deleted),
				aj_arg_int8(done->rows_written),
				aj_arg_int8(done->usage.wal_bytes),
				aj_arg_float8(done->usage.cpu_seconds)));
}

/* The chunk failed, and is to be tried again. */
void
aj_chunk_again(const AjChunk *chunk, const char *error, const char *sqlstate,
			   TimestampTz ready_at)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.chunk SET state = 'waiting', ready_at = $3,"
		" error = $4, sqlstate = $5 WHERE backfill_id = $1 AND chunk_no = $2",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_int4(chunk->chunk_no),
				aj_arg_time(ready_at), aj_arg_text(error),
				aj_arg_text(sqlstate)));
}

/* Two chunks in place of one that failed, which meet at "at". */
void
aj_chunk_halve(const AjChunk *chunk, TimestampTz at)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	/* Another worker may be about to number chunks, too. */
	(void) aj_spi_run("SELECT FROM aggjobs.backfill b"
					  " WHERE b.backfill_id = $1 FOR NO KEY UPDATE",
					  AJ_ARGS(aj_arg_int8(chunk->backfill_id)));
	(void) aj_spi_run(
		"INSERT INTO aggjobs.chunk (backfill_id, chunk_no, stage, kind,"
		" rollup_name, from_time, to_time, attempts)"
		" SELECT c.backfill_id, (SELECT max(m.chunk_no) + 1"
		" FROM aggjobs.chunk m WHERE m.backfill_id = $1), c.stage, c.kind,"
		" c.rollup_name, c.from_time, $3, 1 FROM aggjobs.chunk c"
		" WHERE c.backfill_id = $1 AND c.chunk_no = $2",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_int4(chunk->chunk_no),
				aj_arg_time(at)));
	(void) aj_spi_run("UPDATE aggjobs.chunk SET state = 'waiting',"
					  " from_time = $3, attempts = 1, ready_at = NULL"
					  " WHERE backfill_id = $1 AND chunk_no = $2",
					  AJ_ARGS(aj_arg_int8(chunk->backfill_id),
							  aj_arg_int4(chunk->chunk_no), aj_arg_time(at)));
	aj_spi_close(&spi);
}

/* The chunk can't be done; the rest goes on. */
void
aj_chunk_give_up(const AjChunk *chunk, const char *error, const char *sqlstate)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.chunk SET state = 'failed', ended_at = $3,"
		" error = $4, sqlstate = $5 WHERE backfill_id = $1 AND chunk_no = $2",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_int4(chunk->chunk_no),
				aj_arg_time(aj_now()), aj_arg_text(error),
				aj_arg_text(sqlstate)));
}
