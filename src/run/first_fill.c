/*-------------------------------------------------------------------------
 *
 * first_fill.c
 *	  The first computation of a rollup, by several workers if it is worth it.
 *
 * A run that finds a rollup that was never computed (a new one, or one that is
 * to take the place of an altered one) over much to read, leads a backfill of
 * it and of those below it that were not computed either.  The refresh that
 * follows does what is left: what has come since, and errors that are to be
 * told.
 *
 * No state, no locks of its own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/first_fill.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/settings.h"
#include "base/spi.h"
#include "run/backfill_plan.h"
#include "run/backfill_work.h"
#include "run/first_fill.h"

/* Two workers need two ranges of one rollup, or of two that wait for none. */
static bool
is_worth_it(const AjBackfillPlan *plan)
{
	int ranges = 0;
	ListCell *cell;

	foreach (cell, plan->chunks)
		if (((const AjChunk *) lfirst(cell))->kind == AJ_CHUNK_RANGE)
			ranges++;
	return plan->workers > 1 && ranges > plan->workers;
}

static int64
begin(const AjRollup *rollup, const Jsonb *step, const AjStepHost *host)
{
	AjBackfillWish wish = {
		.name = rollup->name,
		.is_rollup = true,
		.range = AJ_ALL_TIME,
		.first_fill = true,
		.now = host->now,
	};
	AjBackfill backfill = {
		.name = rollup->name,
		.range = AJ_ALL_TIME,
		.newest_first = true,
		.run_id = host->run_id,
	};
	AjBackfillPlan plan;
	AjJson work;

	aj_backfill_plan(&wish, &plan);
	if (!is_worth_it(&plan))
		return 0;
	aj_json_begin(&work);
	aj_json_add_json(&work, "step", step);
	backfill.step = aj_json_end(&work);
	backfill.workers = plan.workers;
	plan.owner.job_id = host->job_id;
	return aj_backfill_begin(&backfill, plan.chunks, &plan.owner);
}

/*
 * aj_first_fill
 *		Compute a rollup that never was, if that is worth several workers;
 *		leaves the last transaction open.
 *
 * Errors: 57014 if the backfill was cancelled.
 */
void
aj_first_fill(const AjRollup *rollup, const Jsonb *step, AjStepHost *host,
			  AjJson *result)
{
	AjBackfillTally tally = {0};
	int64 backfill_id;
	char *state;

	if (!host->in_worker || host->at != AJ_NO_TIME ||
		aj_max_backfill_workers < 2)
		return;
	backfill_id = aj_backfill_go_on(host, step);
	if (backfill_id == 0 && rollup->horizon == AJ_NO_TIME)
		backfill_id = begin(rollup, step, host);
	if (backfill_id == 0)
		return;
	host->commit(host);
	state = aj_backfill_lead(host, backfill_id, &tally);
	if (state == NULL || strcmp(state, "cancelled") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("the backfill of rollup \"%s\" was cancelled",
						rollup->name)));
	aj_json_add_int(result, "backfill", backfill_id);
}
