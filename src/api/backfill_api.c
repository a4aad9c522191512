/*-------------------------------------------------------------------------
 *
 * backfill_api.c
 *	  SQL functions that begin, watch and stop backfills.
 *
 * The work is done by workers (run/backfill_step.c); here are arguments,
 * rights, and the rows that they find.  No state, no locks of their own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/backfill_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "api/backfill_argument.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/settings.h"
#include "base/spi.h"
#include "catalog/backfill.h"
#include "miscadmin.h"
#include "run/backfill_plan.h"
#include "run/backfill_work.h"
#include "shmem/segment.h"
#include "utils/fmgrprotos.h"

#define MOST_WORKERS 64
#define LOOK_AGAIN_MS 500

PG_FUNCTION_INFO_V1(aggjobs_backfill);
PG_FUNCTION_INFO_V1(aggjobs_repair);
PG_FUNCTION_INFO_V1(aggjobs_wait_backfill);
PG_FUNCTION_INFO_V1(aggjobs_pause_backfill);
PG_FUNCTION_INFO_V1(aggjobs_resume_backfill);
PG_FUNCTION_INFO_V1(aggjobs_cancel_backfill);
PG_FUNCTION_INFO_V1(aggjobs_retry_backfill);
PG_FUNCTION_INFO_V1(aggjobs_alter_backfill);

/* Arguments of aggjobs_backfill(). */
enum
{
	ARG_NAME,
	ARG_FROM,
	ARG_TO,
	ARG_DAYS,
	ARG_WORKERS,
	ARG_CHUNK,
	ARG_ORDER,
	ARG_PARENTS,
	ARG_DRY_RUN,
	ARG_SNAPSHOT
};

/* The start of the day in UTC that lies so many days before today. */
static TimestampTz
days_ago(TimestampTz now, int days)
{
	if (days < 1 || days > 100000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"days\" must be 1 to 100000, not %d", days)));
	return now - now % USECS_PER_DAY -
		(now % USECS_PER_DAY < 0 ? USECS_PER_DAY : 0) - days * USECS_PER_DAY;
}

static AjRange
range_wanted(FunctionCallInfo fcinfo, TimestampTz now)
{
	AjRange range;

	if (PG_ARGISNULL(ARG_DAYS))
		return aj_range_arguments(fcinfo, ARG_FROM);
	if (!PG_ARGISNULL(ARG_FROM) || !PG_ARGISNULL(ARG_TO))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"days\" can't be given together with \"from\" or \"to\""),
			 errhint("Give the number of days before today, or a range.")));
	range.from = days_ago(now, PG_GETARG_INT32(ARG_DAYS));
	range.to = DT_NOEND;
	return range;
}

static int
workers_argument(FunctionCallInfo fcinfo, int i)
{
	int workers = PG_GETARG_INT32(i);

	if (workers < 1 || workers > MOST_WORKERS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"workers\" must be 1 to %d, not %d", MOST_WORKERS,
						workers),
				 errhint("Leave it out to have as many as are worth it.")));
	return workers;
}

static Interval *
chunk_argument(FunctionCallInfo fcinfo)
{
	Interval *chunk;

	if (PG_ARGISNULL(ARG_CHUNK))
		return NULL;
	chunk = PG_GETARG_INTERVAL_P(ARG_CHUNK);
	if (chunk->month < 0 || chunk->day < 0 || chunk->time < 0 ||
		(chunk->month == 0 && chunk->day == 0 && chunk->time == 0))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"chunk\" must be greater than zero"),
			 errhint(
				 "Give a width, such as interval '1 day', or leave it out.")));
	return chunk;
}

static bool
newest_first_argument(FunctionCallInfo fcinfo)
{
	char *order;

	if (PG_ARGISNULL(ARG_ORDER))
		return true;
	order = text_to_cstring(PG_GETARG_TEXT_PP(ARG_ORDER));
	if (strcmp(order, "newest first") != 0 &&
		strcmp(order, "oldest first") != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "\"order\" must be \"newest first\" or \"oldest first\", not \"%s\"",
				 order)));
	return strcmp(order, "newest first") == 0;
}

/* Tell what would be done, rollup by rollup in the order of their chunks. */
static void
tell_plan(const AjBackfillPlan *plan, const char *name)
{
	ListCell *cell;

	ereport(NOTICE,
			(errmsg("backfill of \"%s\": %d chunks, %d workers, %s of raw rows",
					name, list_length(plan->chunks), plan->workers,
					aj_disk_pretty(plan->source_bytes))));
	aj_backfill_tell_space(plan);
	foreach (cell, plan->chunks)
	{
		const AjChunk *chunk = lfirst(cell);

		if (chunk->kind == AJ_CHUNK_RANGE)
			ereport(NOTICE,
					(errmsg("chunk %d: \"%s\" from %s to before %s",
							chunk->chunk_no, chunk->rollup,
							pstrdup(timestamptz_to_str(chunk->range.from)),
							pstrdup(timestamptz_to_str(chunk->range.to)))));
	}
}

/* Begin what was planned, with the end of the transaction; returns its id. */
static int64
begin_planned(const AjBackfillWish *wish, const AjBackfillPlan *plan,
			  bool newest_first)
{
	AjBackfill backfill = {
		.name = unconstify(char *, wish->name),
		.range = wish->range,
		.workers = plan->workers,
		.chunk_width = wish->chunk,
		.newest_first = newest_first,
	};

	if (plan->chunks == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing of \"%s\" lies in the range", wish->name),
				 errdetail("Buckets that have not ended, and those that are "
						   "frozen, are not computed.")));
	aj_backfill_check_space(plan);
	return aj_backfill_begin(&backfill, plan->chunks, &plan->owner);
}

/*
 * aggjobs_backfill(name, from, to, days, workers, chunk, order, parents,
 *		dry_run, snapshot) -> backfill id
 *		Compute a range of a job's rollups, or of one rollup, and of those
 *		below, in chunks and by several workers, in the background.
 *
 * Errors: 42704, 42501, 22023; 55000 where the library is not preloaded.
 */
Datum
aggjobs_backfill(PG_FUNCTION_ARGS)
{
	AjBackfillWish wish = {.now = aj_now()};
	AjBackfillPlan plan;
	bool newest_first;
	bool dry_run = !PG_ARGISNULL(ARG_DRY_RUN) && PG_GETARG_BOOL(ARG_DRY_RUN);

	if (!dry_run)
	{
		aj_require_primary(fcinfo);
		aj_segment_require("aggjobs_backfill()");
	}
	aj_require_argument(fcinfo, ARG_NAME, "the name of a job or rollup");
	wish.name = text_to_cstring(PG_GETARG_TEXT_PP(ARG_NAME));
	wish.range = range_wanted(fcinfo, wish.now);
	wish.workers =
		PG_ARGISNULL(ARG_WORKERS) ? 0 : workers_argument(fcinfo, ARG_WORKERS);
	wish.chunk = chunk_argument(fcinfo);
	wish.parents = !PG_ARGISNULL(ARG_PARENTS) && PG_GETARG_BOOL(ARG_PARENTS);
	wish.snapshot = !PG_ARGISNULL(ARG_SNAPSHOT) && PG_GETARG_BOOL(ARG_SNAPSHOT);
	newest_first = newest_first_argument(fcinfo);
	aj_backfill_plan(&wish, &plan);
	if (dry_run)
	{
		tell_plan(&plan, wish.name);
		PG_RETURN_NULL();
	}
	PG_RETURN_INT64(begin_planned(&wish, &plan, newest_first));
}

/*
 * aggjobs_repair(name, from, to, workers) -> backfill id
 *		Compute all buckets of a rollup in a range anew, and of those below, and
 *		write what differs: a backfill.
 *
 * Errors: those of aggjobs_backfill().
 */
Datum
aggjobs_repair(PG_FUNCTION_ARGS)
{
	AjBackfillWish wish = {.now = aj_now(), .is_rollup = true};
	AjBackfillPlan plan;

	aj_require_primary(fcinfo);
	aj_segment_require("aggjobs_repair()");
	aj_require_argument(fcinfo, 0, "the name of a rollup");
	wish.name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	wish.range = aj_range_arguments(fcinfo, 1);
	wish.workers = PG_ARGISNULL(3) ? 0 : workers_argument(fcinfo, 3);
	aj_backfill_plan(&wish, &plan);
	PG_RETURN_INT64(begin_planned(&wish, &plan, true));
}

/*
 * aggjobs_pause_backfill(backfill_id)
 *		Chunks that are at work are ended; no other is begun.
 */
Datum
aggjobs_pause_backfill(PG_FUNCTION_ARGS)
{
	AjBackfill *backfill = aj_backfill_argument(fcinfo);

	aj_require_primary(fcinfo);
	if (!aj_backfill_move(backfill->backfill_id, "running", "paused"))
		aj_complain_of_backfill(backfill, "paused",
								"Only one that is running can be.");
	PG_RETURN_VOID();
}

/* aggjobs_resume_backfill(backfill_id): go on after a pause. */
Datum
aggjobs_resume_backfill(PG_FUNCTION_ARGS)
{
	AjBackfill *backfill = aj_backfill_argument(fcinfo);

	aj_require_primary(fcinfo);
	aj_segment_require("aggjobs_resume_backfill()");
	if (!aj_backfill_move(backfill->backfill_id, "paused", "running"))
		aj_complain_of_backfill(
			backfill, "resumed",
			"Only one that is paused can be; aggjobs_retry_backfill() takes up what failed or was cancelled.");
	aj_backfill_take_up(backfill->backfill_id);
	PG_RETURN_VOID();
}

/*
 * aggjobs_cancel_backfill(backfill_id)
 *		Stop at once: chunks that are at work are undone, those that are done
 *		stay.
 */
Datum
aggjobs_cancel_backfill(PG_FUNCTION_ARGS)
{
	AjBackfill *backfill = aj_backfill_argument(fcinfo);

	aj_require_primary(fcinfo);
	if (!aj_backfill_move(backfill->backfill_id, "running", "cancelled") &&
		!aj_backfill_move(backfill->backfill_id, "paused", "cancelled"))
		aj_complain_of_backfill(backfill, "cancelled", "It is over already.");
	if (aj_segment_present())
		aj_backfill_stop(backfill->backfill_id,
						 psprintf("backfill cancelled by %s",
								  GetUserNameFromId(GetSessionUserId(),
													false)));
	PG_RETURN_VOID();
}

/*
 * aggjobs_retry_backfill(backfill_id) -> how many chunks are left
 *		Take up again what has failed or was cancelled: chunks that are done
 *		stay done.
 */
Datum
aggjobs_retry_backfill(PG_FUNCTION_ARGS)
{
	AjBackfill *backfill = aj_backfill_argument(fcinfo);

	aj_require_primary(fcinfo);
	aj_segment_require("aggjobs_retry_backfill()");
	if (!aj_backfill_move(backfill->backfill_id, "failed", "running") &&
		!aj_backfill_move(backfill->backfill_id, "cancelled", "running"))
		aj_complain_of_backfill(
			backfill, "retried",
			"Only one that has failed or was cancelled can be.");
	aj_backfill_leave(backfill->backfill_id);
	aj_backfill_retry_failed(backfill->backfill_id);
	aj_backfill_take_up(backfill->backfill_id);
	PG_RETURN_INT32(aj_backfill_chunks_left(backfill->backfill_id));
}

/*
 * aggjobs_alter_backfill(backfill_id, workers)
 *		Have so many workers from now on; those that are too many end after
 *		their chunk.
 */
Datum
aggjobs_alter_backfill(PG_FUNCTION_ARGS)
{
	AjBackfill *backfill = aj_backfill_argument(fcinfo);
	AjBackfillOwner owner = {.owner = backfill->owner};
	int workers;

	aj_require_primary(fcinfo);
	aj_require_argument(fcinfo, 1, "\"workers\"");
	workers = workers_argument(fcinfo, 1);
	aj_backfill_set_workers(backfill->backfill_id, workers);
	owner.owner_name = GetUserNameFromId(backfill->owner, false);
	for (int i = 1; i <= workers; i++)
		aj_backfill_add_worker(backfill, i, &owner);
	aj_backfill_queue_runs(backfill->backfill_id, 0);
	PG_RETURN_VOID();
}

static bool
is_over(const char *state)
{
	return state == NULL ||
		(strcmp(state, "running") != 0 && strcmp(state, "paused") != 0);
}

/* Tell when another percent is done. */
static void
tell_progress(int64 backfill_id, int *told)
{
	int chunks;
	int done = aj_backfill_done_latest(backfill_id, &chunks);
	int percent = chunks == 0 ? 100 : done * 100 / chunks;

	if (percent == *told)
		return;
	*told = percent;
	ereport(NOTICE,
			(errmsg("backfill " INT64_FORMAT ": %d of %d chunks, %d %%",
					backfill_id, done, chunks, percent)));
}

/*
 * aggjobs_wait_backfill(backfill_id, timeout) -> state
 *		Wait for the end of a backfill, with NOTICEs of how far it is; its
 *		state then, or when the timeout is over.
 *
 * Errors: 55000 if it was begun or resumed by this very transaction.
 */
Datum
aggjobs_wait_backfill(PG_FUNCTION_ARGS)
{
	TimestampTz until = DT_NOEND;
	AjBackfill *backfill;
	char *state;
	int told = -1;

	aj_segment_require("aggjobs_wait_backfill()");
	backfill = aj_backfill_argument(fcinfo);
	if (!PG_ARGISNULL(1))
		until = DatumGetTimestampTz(DirectFunctionCall2(
			timestamptz_pl_interval, TimestampTzGetDatum(aj_now()),
			PG_GETARG_DATUM(1)));
	if (backfill->uncommitted && !is_over(backfill->state))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "backfill " INT64_FORMAT
				 " was changed by this transaction and goes on when it commits",
				 backfill->backfill_id),
			 errhint("COMMIT first, then wait.")));
	ConditionVariablePrepareToSleep(&aj_segment()->run_ended);
	while (!is_over(state = aj_backfill_state_latest(backfill->backfill_id)) &&
		   aj_now() < until)
	{
		tell_progress(backfill->backfill_id, &told);
		(void) ConditionVariableTimedSleep(&aj_segment()->run_ended,
										   Min(aj_milliseconds_until(until),
											   LOOK_AGAIN_MS),
										   aj_wait_event("AggjobsWait"));
	}
	ConditionVariableCancelSleep();
	tell_progress(backfill->backfill_id, &told);
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(state));
}
