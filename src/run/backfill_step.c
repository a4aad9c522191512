/*-------------------------------------------------------------------------
 *
 * backfill_step.c
 *	  Step {"kind": "backfill", "backfill": ID, "worker": N}: what a worker of
 *	  a backfill does.
 *
 * Such steps are made with backfills and by nobody else.  The work is in
 * run/backfill_work.c.  No state, no locks of its own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/backfill_step.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "run/backfill_work.h"

static const char *const keys[] = {"kind", "backfill", "worker", NULL};

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
	return aj_backfill_allowed(number_field(step, "backfill"));
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
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	AjBackfillTally tally = {0};
	int64 backfill_id = number_field(step, "backfill");
	int worker = (int) number_field(step, "worker");

	if (!host->in_worker)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a backfill can't be worked on in a session"),
				 errhint("Its workers run in the background; see SELECT * FROM "
						 "aggjobs.backfills.")));
	aj_backfill_work(host, backfill_id, worker, &tally);
	aj_json_add_int(result, "backfill", backfill_id);
	aj_json_add_int(result, "worker", worker);
	aj_json_add_int(result, "chunks", tally.chunks);
	aj_json_add_int(result, "failures", tally.failures);
}

const AjStepKind aj_step_backfill = {
	.name = "backfill",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
};
