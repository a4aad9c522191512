/*-------------------------------------------------------------------------
 *
 * chunk.c
 *	  aggjobs.chunk: the pieces of backfills.
 *
 * Every function needs a transaction and works with the rights of the
 * extension's owner.
 *
 * A chunk is "waiting" until a worker takes it, in a transaction of its own
 * that also counts the attempt; "done" is written by the transaction that did
 * the work, so that after any death it is done or was never begun.  One that
 * is "running" in a run that is over has lost its worker, and counts as
 * waiting.  "skipped" and "failed" are final, too.
 *
 * Locks: the row of a chunk while it is taken (SKIP LOCKED); the row of the
 * backfill while chunks are numbered.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/chunk.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/chunk.h"

static const char *const kind_names[] = {
	[AJ_CHUNK_COPY] = "copy",	[AJ_CHUNK_PREPARE] = "prepare",
	[AJ_CHUNK_RANGE] = "range", [AJ_CHUNK_STEP] = "step",
	[AJ_CHUNK_PART] = "part",
};

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

#define IS_LOST                                   \
	" c.backfill_id = $1 AND c.state = 'running'" \
	" AND NOT EXISTS (SELECT FROM aggjobs.run r"  \
	" WHERE r.run_id = c.run_id AND r.status = 'running')"

/*
 * Chunks whose worker is gone wait again.  Whether it is gone is asked once
 * more of rows that are locked: others may have taken them, in runs that have
 * begun since the first look.
 */
static void
release_lost(int64 backfill_id)
{
	int n =
		(int) aj_spi_run("SELECT c.chunk_no FROM aggjobs.chunk c WHERE" IS_LOST
						 " FOR UPDATE OF c SKIP LOCKED",
						 AJ_ARGS(aj_arg_int8(backfill_id)));
	int *lost = palloc(sizeof(int) * (Size) Max(n, 1));

	for (int i = 0; i < n; i++)
		lost[i] = (int) aj_spi_int8((uint64) i, 1, 0);
	for (int i = 0; i < n; i++)
		(void) aj_spi_run(
			"UPDATE aggjobs.chunk c SET state = 'waiting' WHERE" IS_LOST
			" AND c.chunk_no = $2",
			AJ_ARGS(aj_arg_int8(backfill_id), aj_arg_int4(lost[i])));
}

#define TAKE(condition, order)                                                 \
	"UPDATE aggjobs.chunk SET state = 'running', worker = $2, run_id = $3,"    \
	" started_at = $4, attempts = attempts + 1"                                \
	" WHERE backfill_id = $1 AND chunk_no = (SELECT c.chunk_no"                \
	" FROM aggjobs.chunk c WHERE c.backfill_id = $1"                           \
	" AND c.state = 'waiting'"                                                 \
	" AND (c.ready_at IS NULL OR c.ready_at <= $4)" condition                  \
	" ORDER BY " order " LIMIT 1 FOR UPDATE SKIP LOCKED)"                      \
	" RETURNING chunk_no, stage, kind, rollup_name, from_time, to_time, step," \
	" attempts"

#define NOTHING_BELOW                                 \
	" AND NOT EXISTS (SELECT FROM aggjobs.chunk b"    \
	" WHERE b.backfill_id = $1 AND b.stage < c.stage" \
	" AND b.state IN ('waiting', 'running')"          \
	" AND b.from_time < c.to_time AND b.to_time > c.from_time)"

/* Parts may be very many, and none waits for another. */
static const char *
take_sql(const AjBackfill *backfill)
{
	if (backfill->has_parts)
		return TAKE("", "c.chunk_no");
	if (backfill->newest_first)
		return TAKE(NOTHING_BELOW, "c.to_time DESC, c.stage, c.chunk_no");
	return TAKE(NOTHING_BELOW, "c.from_time, c.stage, c.chunk_no");
}

/*
 * The next chunk, and take it.  The order within a range is that of stages, so
 * that what is above is computed as soon as what is below it is.
 */
static bool
take(const AjBackfill *backfill, int worker, int64 run_id, AjChunk *chunk,
	 MemoryContext context)
{
	if (aj_spi_run(take_sql(backfill),
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
				   " AND (b.run_id IS NULL OR EXISTS (SELECT"
				   " FROM aggjobs.run r WHERE r.run_id = b.run_id"
				   " AND r.status = 'running')) FOR KEY SHARE",
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

/*
 * aj_chunk_done
 *		The chunk is done, by this transaction.
 *
 * Errors: 40001 if it is not the run's any more.  So nothing is done twice,
 * whatever was thought of its worker meanwhile.
 */
void
aj_chunk_done(const AjChunk *chunk, int64 run_id, const AjChunkDone *done)
{
	if (aj_catalog_run(
			"UPDATE aggjobs.chunk SET state = 'done', ended_at = $3,"
			" rows_read = $4, rows_deleted = $5, rows_written = $6,"
			" wal_bytes = $7, cpu_seconds = $8, bytes_read = $9, error = NULL,"
			" sqlstate = NULL, rows_skipped = NULL, sample = NULL"
			" WHERE backfill_id = $1 AND chunk_no = $2 AND state = 'running'"
			" AND run_id = $10",
			AJ_ARGS(aj_arg_int8(chunk->backfill_id),
					aj_arg_int4(chunk->chunk_no), aj_arg_time(aj_now()),
					aj_arg_int8(done->rows_read),
					aj_arg_int8(done->rows_deleted),
					aj_arg_int8(done->rows_written),
					aj_arg_int8(done->usage.wal_bytes),
					aj_arg_float8(done->usage.cpu_seconds),
					aj_arg_int8(
						(done->usage.buffers_hit + done->usage.buffers_read) *
						BLCKSZ),
					aj_arg_int8(run_id))) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("chunk %d of backfill " INT64_FORMAT
						" was given to another worker",
						chunk->chunk_no, chunk->backfill_id)));
}

/* Does a chunk still belong to a run?  If so, it does until the commit. */
bool
aj_chunk_is_of(const AjChunk *chunk, int64 run_id)
{
	return aj_catalog_run("SELECT FROM aggjobs.chunk c"
						  " WHERE c.backfill_id = $1 AND c.chunk_no = $2"
						  " AND c.state = 'running' AND c.run_id = $3"
						  " FOR UPDATE",
						  AJ_ARGS(aj_arg_int8(chunk->backfill_id),
								  aj_arg_int4(chunk->chunk_no),
								  aj_arg_int8(run_id))) > 0;
}

/* The chunk failed, and is to be tried again. */
void
aj_chunk_again(const AjChunk *chunk, const AjChunkError *error,
			   TimestampTz ready_at)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.chunk SET state = 'waiting', ready_at = $3,"
		" error = $4, sqlstate = $5 WHERE backfill_id = $1 AND chunk_no = $2",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_int4(chunk->chunk_no),
				aj_arg_time(ready_at), aj_arg_text(aj_cut(error->message)),
				aj_arg_text(error->sqlstate)));
}

/*
 * The part of a chunk before an instant becomes a chunk of its own, that waits
 * and has been tried so often.
 */
static void
cut_off(const AjChunk *chunk, TimestampTz at, int attempts)
{
	/* Another worker may be about to number chunks, too. */
	(void) aj_spi_run("SELECT FROM aggjobs.backfill b"
					  " WHERE b.backfill_id = $1 FOR NO KEY UPDATE",
					  AJ_ARGS(aj_arg_int8(chunk->backfill_id)));
	(void) aj_spi_run(
		"INSERT INTO aggjobs.chunk (backfill_id, chunk_no, stage, kind,"
		" rollup_name, from_time, to_time, attempts)"
		" SELECT c.backfill_id, (SELECT max(m.chunk_no) + 1"
		" FROM aggjobs.chunk m WHERE m.backfill_id = $1), c.stage, c.kind,"
		" c.rollup_name, c.from_time, $3, $4 FROM aggjobs.chunk c"
		" WHERE c.backfill_id = $1 AND c.chunk_no = $2",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_int4(chunk->chunk_no),
				aj_arg_time(at), aj_arg_int4(attempts)));
}

/* Two chunks in place of one that failed, which meet at "at". */
void
aj_chunk_halve(const AjChunk *chunk, TimestampTz at)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	cut_off(chunk, at, 1);
	(void) aj_spi_run("UPDATE aggjobs.chunk SET state = 'waiting',"
					  " from_time = $3, attempts = 1, ready_at = NULL"
					  " WHERE backfill_id = $1 AND chunk_no = $2",
					  AJ_ARGS(aj_arg_int8(chunk->backfill_id),
							  aj_arg_int4(chunk->chunk_no), aj_arg_time(at)));
	aj_spi_close(&spi);
}

/* A chunk that was taken begins at "at" from now on; others get the rest. */
void
aj_chunk_shorten(AjChunk *chunk, TimestampTz at)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	cut_off(chunk, at, 0);
	(void) aj_spi_run("UPDATE aggjobs.chunk SET from_time = $3"
					  " WHERE backfill_id = $1 AND chunk_no = $2",
					  AJ_ARGS(aj_arg_int8(chunk->backfill_id),
							  aj_arg_int4(chunk->chunk_no), aj_arg_time(at)));
	aj_spi_close(&spi);
	chunk->range.from = at;
}

/*
 * aj_chunk_seconds
 *		How long a range is likely to take, by the slowest pace of those of its
 *		rollup that are done and took "least" seconds at least; 0 if there are
 *		none.
 *
 * The slowest, as a range may begin or end with a time that has no rows.
 */
double
aj_chunk_seconds(const AjChunk *chunk, double least)
{
	AjSpi spi;
	double pace;

	if (TIMESTAMP_NOT_FINITE(chunk->range.from) ||
		TIMESTAMP_NOT_FINITE(chunk->range.to))
		return 0;
	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run(
		"SELECT max(extract(epoch FROM c.ended_at - c.started_at)"
		" / extract(epoch FROM c.to_time - c.from_time))::double precision"
		" FROM aggjobs.chunk c WHERE c.backfill_id = $1"
		" AND c.rollup_name = $2 AND c.kind = 'range' AND c.state = 'done'"
		" AND isfinite(c.from_time) AND isfinite(c.to_time)"
		" AND c.ended_at - c.started_at >= make_interval(secs => $3)",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_text(chunk->rollup),
				aj_arg_float8(least)));
	pace = aj_spi_float8(0, 1);
	aj_spi_close(&spi);
	return pace * (double) (chunk->range.to - chunk->range.from) /
		USECS_PER_SEC;
}

static void
end_with_error(const AjChunk *chunk, const char *state,
			   const AjChunkError *error)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.chunk SET state = $3, ended_at = $4,"
		" error = $5, sqlstate = $6 WHERE backfill_id = $1 AND chunk_no = $2",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_int4(chunk->chunk_no),
				aj_arg_text(state), aj_arg_time(aj_now()),
				aj_arg_text(aj_cut(error->message)),
				aj_arg_text(error->sqlstate)));
}

/* The chunk can't be done; the rest goes on. */
void
aj_chunk_give_up(const AjChunk *chunk, const AjChunkError *error)
{
	end_with_error(chunk, "failed", error);
}

/*
 * A copy could not be made: nothing is written to what it was to keep, nor to
 * what is computed from that.
 */
void
aj_chunk_give_up_copied(const AjChunk *copy)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.chunk c SET state = 'failed', ended_at = $4,"
		" sqlstate = '55000', error = format('what rollup \"%s\" says could"
		" not be kept', $3::text) WHERE c.backfill_id = $1 AND c.stage > $2"
		" AND c.state = 'waiting'",
		AJ_ARGS(aj_arg_int8(copy->backfill_id), aj_arg_int4(copy->stage),
				aj_arg_text(copy->rollup), aj_arg_time(aj_now())));
}

/* The chunk says of itself that there is nothing to do in it. */
void
aj_chunk_skip(const AjChunk *chunk, const AjChunkError *error)
{
	end_with_error(chunk, "skipped", error);
}

/* How many rows of the source are in a chunk that was given up, and some. */
void
aj_chunk_sample(const AjChunk *chunk, int64 rows, const Jsonb *sample)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.chunk SET rows_skipped = $3, sample = $4"
		" WHERE backfill_id = $1 AND chunk_no = $2 AND state = 'failed'",
		AJ_ARGS(aj_arg_int8(chunk->backfill_id), aj_arg_int4(chunk->chunk_no),
				aj_arg_int8(rows), aj_arg_jsonb(sample)));
}
