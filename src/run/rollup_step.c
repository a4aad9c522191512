/*-------------------------------------------------------------------------
 *
 * rollup_step.c
 *	  Step {"kind": "rollup", "rollup": NAME}: refresh a rollup.
 *
 * The work is done in rollup/refresh.c.  No state, no locks of its own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/rollup_step.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "run/first_fill.h"
#include "run/step.h"

static const char *const keys[] = {"kind", "rollup", NULL};

static char *
rollup_name(const Jsonb *step)
{
	char *name = aj_json_text_field(step, "rollup");

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a step of kind \"rollup\" needs the key \"rollup\""),
				 errhint(
					 "Write {\"kind\": \"rollup\", \"rollup\": \"NAME\"}.")));
	return name;
}

static void
check(const Jsonb *step)
{
	(void) aj_rollup_find(rollup_name(step), false);
}

static void
plan(const Jsonb *step, const AjStepHost *host)
{
	AjRefresh refresh = {.now = host->now, .at = host->at};

	aj_refresh_plan(aj_rollup_find(rollup_name(step), false), &refresh);
}

static void
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	char *name = rollup_name(step);
	AjRollup *rollup;
	AjRefresh refresh = {
		.now = host->now,
		.at = host->at,
		.commit = host->commit,
		.commit_arg = host,
	};

	aj_first_fill(aj_rollup_find(name, false), step, host, result);
	rollup = aj_rollup_find(name, false);
	aj_refresh(rollup, &refresh);
	host->rows_written += refresh.rows_written;
	aj_json_add_text(result, "rollup", rollup->name);
	aj_json_add_int(result, "ranges", refresh.ranges);
	aj_json_add_int(result, "rows_deleted", refresh.rows_deleted);
	aj_json_add_int(result, "rows_written", refresh.rows_written);
	if (refresh.ranges == 0)
		return;
	aj_json_add_text(result, "from", timestamptz_to_str(refresh.computed.from));
	aj_json_add_text(result, "to", timestamptz_to_str(refresh.computed.to));
}

const AjStepKind aj_step_rollup = {
	.name = "rollup",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
};
