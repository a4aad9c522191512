/*-------------------------------------------------------------------------
 *
 * backfill_step.c
 *	  Step {"kind": "backfill", "backfill": ID, "worker": N}: what a worker of
 *	  a backfill does.
 *
 * It takes one chunk after the other, until there is none left for it.  Each is
 * computed in a transaction that also says that it is done.  One that fails is
 * tried once more, then halved down to the bucket, then given up with its
 * error; the rest goes on.  Who cancels or ends the run ends the worker, and
 * the chunk that it had waits for another one.
 *
 * Such steps are made by aggjobs_backfill() and by nobody else.
 *
 * State: none but the caller's.  Memory: "pg_aggjobs chunk", a child of that
 * of the run, reset for each chunk.  No lock is held while it waits for others.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/backfill_step.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/progress.h"
#include "base/spi.h"
#include "base/tx.h"
#include "catalog/backfill.h"
#include "miscadmin.h"
#include "run/step.h"
#include "shmem/slots.h"
#include "storage/latch.h"
#include "time/backoff.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#define LOOK_AGAIN_MS 200
#define MOST_ATTEMPTS 3 /* where others were in the way */
#define DELAY_MS 1000
#define LONGEST_DELAY_MS 30000

static const char *const keys[] = {"kind", "backfill", "worker", NULL};

typedef struct Work
{
	AjStepHost *host;
	AjBackfill *backfill;
	int worker;
	MemoryContext context; /* of one chunk */
	int64 chunks;
	int64 failures;
} Work;

static int64
number_field(const Jsonb *step, const char *key)
{
	char *text = aj_json_text_field(step, key);
	int64 number = text == NULL ? 0 : strtoll(text, NULL, 10);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a step of kind \"backfill\" needs the key \"%s\"",
						key),
				 errhint("SELECT aggjobs_backfill(name, ...) makes it.")));
	return number;
}

static AjBackfill *
find_backfill(const Jsonb *step)
{
	int64 id = number_field(step, "backfill");
	AjBackfill *backfill = aj_backfill_find(id);

	if (backfill == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("backfill " INT64_FORMAT " does not exist", id),
				 errhint("SELECT aggjobs_backfill(name, ...) makes one.")));
	return backfill;
}

static void
check(const Jsonb *step)
{
	(void) find_backfill(step);
	(void) number_field(step, "worker");
}

static void
plan(const Jsonb *step, const AjStepHost *host)
{
	ereport(NOTICE,
			(errmsg("would work at the backfill of \"%s\"",
					find_backfill(step)->name)));
}

static void
commit(Work *work)
{
	work->host->commit(work->host);
	MemoryContextSwitchTo(work->context);
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
	if (chunk->kind == AJ_CHUNK_STEP)
		run_step(work, chunk, &done);
	else
		compute_rollup(work, chunk, &done);
	aj_usage_since(&usage, &done.usage);
	done.rows_read = aj_progress_rows();
	aj_chunk_done(chunk, &done);
	commit(work);
	aj_progress_end();
	work->host->rows_written += done.rows_written;
	work->chunks++;
}

/* Does the error concern the run as a whole? */
static bool
ends_worker(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN;
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

static void
store_failure(const AjChunk *chunk, const ErrorData *error)
{
	char *sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
	AjErrorKind kind = aj_error_kind(sqlstate);
	TimestampTz middle;
	int attempts = kind == AJ_ERROR_PASSES ? MOST_ATTEMPTS : MOST_ATTEMPTS - 1;

	if (kind != AJ_ERROR_STAYS && chunk->attempts < attempts)
	{
		int64 delay =
			aj_backoff_ms(chunk->attempts, DELAY_MS, LONGEST_DELAY_MS, 0.5);

		aj_chunk_again(chunk, error->message, sqlstate,
					   TimestampTzPlusMilliseconds(aj_now(), delay));
		return;
	}
	middle = kind == AJ_ERROR_STAYS ? chunk->range.from : middle_of(chunk);
	if (middle > chunk->range.from)
		aj_chunk_halve(chunk, middle);
	else
		aj_chunk_give_up(chunk, error->message, sqlstate);
}

/* The transaction of the chunk is undone, and its failure written down. */
static void
after_failure(Work *work, const AjChunk *chunk, const ErrorData *error)
{
	aj_tx_abort();
	aj_tx_begin("store the failure of a chunk");
	MemoryContextSwitchTo(work->context);
	store_failure(chunk, error);
	commit(work);
	work->failures++;
}

static void
try_chunk(Work *work, const AjChunk *chunk)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		do_chunk(work, chunk);
	}
	PG_CATCH();
	{
		aj_progress_end();
		MemoryContextSwitchTo(work->context);
		error = CopyErrorData();
		if (ends_worker(error))
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

/* Without a snapshot, so that vacuum can go on. */
static void
wait_for_others(Work *work)
{
	commit(work);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 LOOK_AGAIN_MS, aj_wait_event("AggjobsBackfill"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

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
		taken = aj_chunk_take(work->backfill, work->worker, work->host->run_id,
							  &chunk);
		if (taken == AJ_CHUNK_LATER)
			wait_for_others(work);
		if (taken != AJ_CHUNK_TAKEN)
			continue;
		commit(work);
		try_chunk(work, &chunk);
	} while (taken != AJ_CHUNK_NOTHING);
	aj_backfill_finish(work->backfill->backfill_id);
}

static void
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	Work work = {.host = host};

	if (!host->in_worker)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a backfill can't be worked on in a session"),
				 errhint("Its workers run in the background; see SELECT * FROM "
						 "aggjobs.backfills.")));
	work.backfill = find_backfill(step);
	work.worker = (int) number_field(step, "worker");
	/* Other workers are what it has in place of parallel plans. */
	SetConfigOption("max_parallel_workers_per_gather", "0", PGC_USERSET,
					PGC_S_SESSION);
	work.context = AllocSetContextCreate(host->context, "pg_aggjobs chunk",
										 ALLOCSET_DEFAULT_SIZES);
	work_on(&work);
	MemoryContextSwitchTo(host->context);
	MemoryContextDelete(work.context);
	aj_json_add_int(result, "backfill", work.backfill->backfill_id);
	aj_json_add_int(result, "worker", work.worker);
	aj_json_add_int(result, "chunks", work.chunks);
	aj_json_add_int(result, "failures", work.failures);
}

const AjStepKind aj_step_backfill = {
	.name = "backfill",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
};
