/*-------------------------------------------------------------------------
 *
 * backfill_work.c
 *	  The work at a backfill, by one worker or by a run that needs its outcome.
 *
 * A worker takes one chunk after the other, until there is none left for it.
 * Each is done in a transaction that also says that it is done.  One that fails
 * is tried once more, then halved down to the bucket, then given up with its
 * error; the rest goes on.  Who cancels or ends the run ends the worker, and
 * the chunk that it had waits for another one.
 *
 * A range that is likely to take much longer than aggjobs.backfill_chunk_time, by
 * the pace of those before it, is cut before it is begun, unless somebody has
 * said how wide chunks are to be.
 *
 * State: none but the caller's.  Memory: "pg_aggjobs chunk", a child of that
 * of the run, reset for each chunk.  No lock is held while it waits for others.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/backfill_work.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/progress.h"
#include "base/settings.h"
#include "base/spi.h"
#include "base/tx.h"
#include "catalog/chunk.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "rollup/copy.h"
#include "rollup/sample.h"
#include "run/backfill_work.h"
#include "run/limits.h"
#include "run/part.h"
#include "run/pressure.h"
#include "shmem/slots.h"
#include "storage/latch.h"
#include "time/backoff.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#define LOOK_AGAIN_MS 200
#define MOST_ATTEMPTS 3 /* where others were in the way */
#define DELAY_MS 1000
#define LONGEST_DELAY_MS 30000
#define WORTH_MEASURING 10 /* of the time that a chunk should take */

typedef struct Work
{
	AjStepHost *host;
	AjBackfill *backfill;
	int worker;
	MemoryContext context; /* of one chunk */
	AjPressure pressure;
	AjBackfillTally *tally;
} Work;

static void
begin(Work *work, const char *activity)
{
	aj_tx_begin(activity);
	MemoryContextSwitchTo(work->context);
}

static void
commit(Work *work)
{
	work->host->commit(work->host);
	MemoryContextSwitchTo(work->context);
}

/* Without a transaction meanwhile, so that vacuum can go on. */
static void
rest(MemoryContext context)
{
	aj_tx_commit();
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 LOOK_AGAIN_MS, aj_wait_event("AggjobsBackfill"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	aj_tx_begin("take a chunk");
	MemoryContextSwitchTo(context);
}

/* The ranges of the chunks of a rollup, in order. */
static void
prepare_rollup(AjRollup *rollup, AjRefresh *refresh, const AjChunk *chunk)
{
	int n;
	AjRange *ranges = aj_chunk_ranges(chunk->backfill_id, chunk->rollup, &n);

	if (n > 0)
		aj_refresh_prepare(rollup, refresh, ranges, n);
}

static void
compute_rollup(Work *work, const AjChunk *chunk, AjChunkDone *done)
{
	AjRollup *rollup = aj_rollup_find(chunk->rollup, false);
	AjRefresh refresh = {
		.now = aj_now(),
		.at = AJ_NO_TIME,
		.commit = work->host->commit,
		.commit_arg = work->host,
	};

	if (chunk->kind == AJ_CHUNK_PREPARE)
		prepare_rollup(rollup, &refresh, chunk);
	else
		aj_refresh_piece(rollup, chunk->range, &refresh);
	done->rows_deleted = refresh.rows_deleted;
	done->rows_written = refresh.rows_written;
}

static void
copy_rollup(const AjChunk *chunk)
{
	AjRollup *rollup = aj_rollup_find(chunk->rollup, false);
	AjBackfillCopy copy = {
		.rollup = chunk->rollup,
		.target = rollup->target,
		.range = chunk->range,
	};

	copy.copy = aj_copy_make(rollup, chunk->range, chunk->backfill_id);
	aj_backfill_add_copy(chunk->backfill_id, &copy);
}

static void
run_step(Work *work, const AjChunk *chunk, AjChunkDone *done)
{
	AjJson result;
	int64 before = work->host->rows_written;

	aj_json_begin(&result);
	aj_step_kind(chunk->step)->run(chunk->step, work->host, &result);
	(void) aj_json_end(&result);
	done->rows_written = work->host->rows_written - before;
	work->host->rows_written = before;
}

/* The table that a chunk reads, or InvalidOid. */
static Oid
source_of(const AjChunk *chunk)
{
	return chunk->rollup == NULL ? InvalidOid
								 : aj_rollup_find(chunk->rollup, false)->source;
}

static void
do_chunk(Work *work, const AjChunk *chunk)
{
	AjChunkDone done = {0};
	AjUsageStart usage;

	aj_usage_start(&usage);
	aj_progress_begin(aj_slots_progress(work->host->slot_index),
					  chunk->chunk_no, source_of(chunk));
	if (chunk->kind == AJ_CHUNK_PART)
		done.rows_written =
			aj_part_run(work->backfill->step, chunk->step, work->context);
	else if (chunk->kind == AJ_CHUNK_STEP)
		run_step(work, chunk, &done);
	else if (chunk->kind == AJ_CHUNK_COPY)
		copy_rollup(chunk);
	else
		compute_rollup(work, chunk, &done);
	aj_usage_since(&usage, &done.usage);
	done.rows_read = aj_progress_rows();
	aj_chunk_done(chunk, work->host->run_id, &done);
	commit(work);
	aj_progress_end();
	work->host->rows_written += done.rows_written;
	work->tally->chunks++;
}

/* Leave to others what would take too long, if that is known. */
static void
shorten(Work *work, AjChunk *chunk)
{
	AjRollup *rollup;
	TimestampTz at;
	double wanted = aj_backfill_chunk_time / 1000.0;
	double seconds;

	if (chunk->kind != AJ_CHUNK_RANGE || wanted == 0 ||
		work->backfill->chunk_width != NULL)
		return;
	seconds = aj_chunk_seconds(chunk, wanted / WORTH_MEASURING);
	if (seconds < 2 * wanted)
		return;
	rollup = aj_rollup_find(chunk->rollup, true);
	if (rollup == NULL)
		return;
	at = aj_bucket_start(&rollup->bucket,
						 chunk->range.to -
							 (TimestampTz) ((double) (chunk->range.to -
													  chunk->range.from) *
											wanted / seconds));
	if (at <= chunk->range.from || at >= chunk->range.to ||
		!aj_chunk_is_of(chunk, work->host->run_id))
		return;
	aj_refresh_cut(rollup, chunk->range, at);
	aj_chunk_shorten(chunk, at);
	commit(work);
}

/* Does the error concern the run as a whole? */
static bool
ends_worker(const Work *work, const ErrorData *error)
{
	char reason[AJ_REASON_SIZE];

	if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
		return error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN;
	/* That a statement took too long concerns the chunk alone. */
	return !aj_statement_limit_passed() || aj_time_limit_passed() ||
		aj_slots_stop(work->host->slot_index, reason) != AJ_STOP_NONE;
}

/* A bucket start in the middle of a range, or that range's start. */
static TimestampTz
middle_of(const AjChunk *chunk)
{
	AjRollup *rollup;
	TimestampTz at;

	if (chunk->kind != AJ_CHUNK_RANGE ||
		TIMESTAMP_IS_NOBEGIN(chunk->range.from) ||
		TIMESTAMP_IS_NOEND(chunk->range.to))
		return chunk->range.from;
	rollup = aj_rollup_find(chunk->rollup, true);
	if (rollup == NULL)
		return chunk->range.from;
	at = aj_bucket_start(&rollup->bucket,
						 chunk->range.from +
							 (chunk->range.to - chunk->range.from) / 2);
	if (at <= chunk->range.from)
		at = aj_bucket_end(&rollup->bucket, chunk->range.from);
	return at < chunk->range.to ? at : chunk->range.from;
}

/* What becomes of a chunk that failed; true if it is given up. */
static bool
store_failure(const AjChunk *chunk, const AjChunkError *error)
{
	AjErrorKind kind = aj_error_kind(error->sqlstate);
	TimestampTz middle;
	int attempts = kind == AJ_ERROR_PASSES ? MOST_ATTEMPTS : MOST_ATTEMPTS - 1;

	if (kind != AJ_ERROR_STAYS && chunk->attempts < attempts)
	{
		int64 delay =
			aj_backoff_ms(chunk->attempts, DELAY_MS, LONGEST_DELAY_MS, 0.5);

		aj_chunk_again(chunk, error,
					   TimestampTzPlusMilliseconds(aj_now(), delay));
		return false;
	}
	middle = kind == AJ_ERROR_STAYS ? chunk->range.from : middle_of(chunk);
	if (middle > chunk->range.from)
	{
		aj_chunk_halve(chunk, middle);
		return false;
	}
	aj_chunk_give_up(chunk, error);
	if (chunk->kind == AJ_CHUNK_COPY)
		aj_chunk_give_up_copied(chunk);
	return true;
}

/* Show rows of a range that was given up; "arg" is its chunk. */
static void
show_sample(void *arg)
{
	const AjChunk *chunk = arg;
	AjRollup *rollup = aj_rollup_find(chunk->rollup, true);
	Jsonb *sample;
	int64 rows;

	if (rollup == NULL)
		return;
	sample = aj_sample_rows(rollup, chunk->range, &rows);
	aj_chunk_sample(chunk, rows, sample);
}

/* The transaction of the chunk is undone, and its failure written down. */
static void
after_failure(Work *work, AjChunk *chunk, const ErrorData *failure)
{
	AjChunkError error = {.message = failure->message};
	bool given_up;

	aj_tx_abort();
	aj_statement_limit_stop(false);
	begin(work, "store the failure of a chunk");
	if (!aj_chunk_is_of(chunk, work->host->run_id))
		return;
	error.sqlstate = pstrdup(unpack_sql_state(failure->sqlerrcode));
	if (chunk->kind == AJ_CHUNK_PART && failure->sqlerrcode == ERRCODE_NO_DATA)
	{
		aj_chunk_skip(chunk, &error);
		commit(work);
		return;
	}
	given_up = store_failure(chunk, &error);
	commit(work);
	work->tally->failures++;
	if (!given_up || chunk->kind != AJ_CHUNK_RANGE)
		return;
	aj_tx_commit();
	(void) aj_tx_try("show rows of a chunk", show_sample, chunk);
	begin(work, "take a chunk");
}

static void
try_chunk(Work *work, AjChunk *chunk)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		shorten(work, chunk);
		do_chunk(work, chunk);
	}
	PG_CATCH();
	{
		aj_progress_end();
		MemoryContextSwitchTo(work->context);
		error = CopyErrorData();
		if (ends_worker(work, error))
			PG_RE_THROW();
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	if (error != NULL)
		after_failure(work, chunk, error);
}

/* Let the server do what it has to do before; true if it has to. */
static bool
make_way(Work *work)
{
	AjPhase phase = aj_pressure_look(&work->pressure);

	aj_progress_wait(aj_slots_progress(work->host->slot_index), phase);
	if (phase == AJ_PHASE_NONE)
		return false;
	rest(work->context);
	return true;
}

static bool
is_running(int64 backfill_id)
{
	char *state = aj_backfill_state_latest(backfill_id);

	return state != NULL && strcmp(state, "running") == 0;
}

/* Chunk after chunk, until there is none for this worker. */
static void
work_on(Work *work)
{
	AjChunkTaken taken;
	AjChunk chunk;

	do
	{
		MemoryContextReset(work->context);
		MemoryContextSwitchTo(work->context);
		memset(&chunk, 0, sizeof(AjChunk));
		(void) aj_settings_reload();
		if (make_way(work) && is_running(work->backfill->backfill_id))
		{
			taken = AJ_CHUNK_LATER;
			continue;
		}
		taken = aj_chunk_take(work->backfill, work->worker, work->host->run_id,
							  &chunk);
		if (taken == AJ_CHUNK_LATER)
			rest(work->context);
		if (taken != AJ_CHUNK_TAKEN)
			continue;
		commit(work);
		try_chunk(work, &chunk);
	} while (taken != AJ_CHUNK_NOTHING);
	aj_backfill_finish(work->backfill->backfill_id);
}

/*
 * aj_backfill_work
 *		Be one worker of a backfill until there is nothing left to do for it.
 *		The last transaction is left open.
 */
void
aj_backfill_work(AjStepHost *host, int64 backfill_id, int worker,
				 AjBackfillTally *tally)
{
	Work work = {.host = host, .worker = worker, .tally = tally};
	char *parallel = psprintf("%d", max_parallel_workers_per_gather);

	work.backfill = aj_backfill_allowed(backfill_id);
	/* Other workers are what it has in place of parallel plans. */
	SetConfigOption("max_parallel_workers_per_gather", "0", PGC_USERSET,
					PGC_S_SESSION);
	work.context = AllocSetContextCreate(host->context, "pg_aggjobs chunk",
										 ALLOCSET_DEFAULT_SIZES);
	aj_pressure_begin(&work.pressure);
	work_on(&work);
	MemoryContextSwitchTo(host->context);
	MemoryContextDelete(work.context);
	SetConfigOption("max_parallel_workers_per_gather", parallel, PGC_USERSET,
					PGC_S_SESSION);
}

/*
 * aj_backfill_begin
 *		Store a backfill with its chunks (List of AjChunk) and workers, who
 *		begin when the transaction commits; returns its id.
 */
int64
aj_backfill_begin(AjBackfill *backfill, List *chunks,
				  const AjBackfillOwner *owner)
{
	ListCell *cell;

	backfill->backfill_id = aj_backfill_insert(backfill);
	foreach (cell, chunks)
	{
		AjChunk *chunk = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		chunk->backfill_id = backfill->backfill_id;
		aj_chunk_insert(chunk);
	}
	for (int i = 1; i <= backfill->workers; i++)
		aj_backfill_add_worker(backfill, i, owner);
	aj_backfill_queue_runs(backfill->backfill_id, 0);
	return backfill->backfill_id;
}

/*
 * aj_backfill_go_on
 *		Take up what an earlier attempt at the host's run has begun in the same
 *		step and not ended; its id, or 0 if there is none.
 */
int64
aj_backfill_go_on(const AjStepHost *host, const Jsonb *step)
{
	int64 backfill_id = aj_backfill_adopt(host->run_id, step);

	if (backfill_id == 0)
		return 0;
	aj_backfill_retry_failed(backfill_id);
	aj_backfill_take_up(backfill_id);
	return backfill_id;
}

/*
 * aj_backfill_lead
 *		Work at a backfill that the host's run leads, as its first worker, to
 *		its end, pauses included; returns its state then.  The last transaction
 *		is left open.
 */
char *
aj_backfill_lead(AjStepHost *host, int64 backfill_id, AjBackfillTally *tally)
{
	char *state;

	for (;;)
	{
		aj_backfill_work(host, backfill_id, 1, tally);
		host->commit(host);
		state = aj_backfill_state_latest(backfill_id);
		if (state == NULL ||
			(strcmp(state, "paused") != 0 && strcmp(state, "running") != 0))
			break;
		rest(host->context);
	}
	host->rows_written += aj_backfill_rows_of_others(backfill_id, host->run_id);
	return state;
}
