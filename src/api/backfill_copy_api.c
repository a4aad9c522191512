/*-------------------------------------------------------------------------
 *
 * backfill_copy_api.c
 *	  SQL functions for what rollups said before a backfill.
 *
 * The work is done in rollup/copy.c.  No state, no locks of their own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/backfill_copy_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "api/backfill_argument.h"
#include "rollup/copy.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(aggjobs_confirm_backfill);
PG_FUNCTION_INFO_V1(aggjobs_undo_backfill);

/* The copies of a backfill that is over. */
static AjBackfillCopy *
copies_argument(FunctionCallInfo fcinfo, const char *what, int64 *backfill_id,
				int *n)
{
	AjBackfill *backfill = aj_backfill_argument(fcinfo);
	AjBackfillCopy *copies;

	aj_require_primary(fcinfo);
	if (strcmp(backfill->state, "running") == 0 ||
		strcmp(backfill->state, "paused") == 0)
		aj_complain_of_backfill(
			backfill, what,
			"Wait for its end with aggjobs_wait_backfill(), or cancel it with aggjobs_cancel_backfill().");
	*backfill_id = backfill->backfill_id;
	copies = aj_backfill_copies(*backfill_id, n);
	if (*n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("backfill " INT64_FORMAT " has no copies",
						*backfill_id),
				 errhint("They are made with snapshot => true, and go when "
						 "the backfill is confirmed or undone.")));
	return copies;
}

static void
drop_copies(int64 backfill_id, const AjBackfillCopy *copies, int n)
{
	for (int i = 0; i < n; i++)
		aj_copy_drop(copies[i].copy);
	aj_backfill_forget_copies(backfill_id);
}

/*
 * aggjobs_confirm_backfill(backfill_id) -> how many copies there were
 *		What the backfill has computed is good: drop what was kept.
 *
 * Errors: 42704, 42501; 55000 if it is not over, or has no copies.
 */
Datum
aggjobs_confirm_backfill(PG_FUNCTION_ARGS)
{
	int64 backfill_id;
	int n;
	AjBackfillCopy *copies =
		copies_argument(fcinfo, "confirmed", &backfill_id, &n);

	drop_copies(backfill_id, copies, n);
	PG_RETURN_INT32(n);
}

/* The rollup, if its table still is the one that was copied. */
static AjRollup *
rollup_of(const AjBackfillCopy *copy)
{
	AjRollup *rollup = aj_rollup_find(copy->rollup, true);

	if (rollup != NULL && rollup->target == copy->target &&
		get_rel_name(copy->copy) != NULL)
		return rollup;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rollup \"%s\" can't be put back as it was", copy->rollup),
			 errdetail("The rollup or its copy was dropped, or the rollup got "
					   "another query since."),
			 errhint("SELECT aggjobs_confirm_backfill(id) drops the copies.")));
}

/*
 * aggjobs_undo_backfill(backfill_id) -> how many rows went and came
 *		Have rollups say what they said before a backfill, and drop the copies.
 *
 * Errors: 42704, 42501; 55000 if it is not over, has no copies, or a rollup has
 * been altered or dropped since.
 */
Datum
aggjobs_undo_backfill(PG_FUNCTION_ARGS)
{
	int64 backfill_id;
	int n;
	AjBackfillCopy *copies =
		copies_argument(fcinfo, "undone", &backfill_id, &n);
	int64 rows = 0;

	for (int i = 0; i < n; i++)
		rows += aj_copy_put_back(rollup_of(&copies[i]), copies[i].copy,
								 copies[i].range);
	drop_copies(backfill_id, copies, n);
	if (rows > 0)
		ereport(
			NOTICE,
			(errmsg("what was put back is not what the raw rows say"),
			 errdetail(
				 "Live views go on to be right; the next refresh computes these buckets again."),
			 errhint(
				 "To keep the tables like this for a while, pause the jobs that refresh them: SELECT aggjobs_pause(name).")));
	PG_RETURN_INT64(rows);
}
