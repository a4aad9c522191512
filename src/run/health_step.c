/*-------------------------------------------------------------------------
 *
 * health_step.c
 *	  Step {"kind": "health"}: look at aggjobs.health and say what is wrong.
 *
 * The run succeeds when it could look; what it saw is in its result, and each
 * thing that is not well is a WARNING in its log.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/health_step.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "catalog/health.h"
#include "run/step.h"

static const char *const keys[] = {"kind", NULL};

static void
check(const Jsonb *step)
{
	/* There is nothing in it that could be wrong. */
}

static void
plan(const Jsonb *step, const AjStepHost *host)
{
	ereport(NOTICE, (errmsg("health would be checked")));
}

static void
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	int n;
	AjHealth *checks = aj_health_checks(&n);
	const char *overall = "ok";

	for (int i = 0; i < n; i++)
	{
		aj_json_add_text(result, checks[i].name, checks[i].state);
		if (strcmp(checks[i].state, "ok") == 0)
			continue;
		if (strcmp(overall, "failing") != 0)
			overall = checks[i].state;
		ereport(WARNING,
				(errmsg("health: %s is %s: %s", checks[i].name, checks[i].state,
						checks[i].detail)));
	}
	aj_json_add_text(result, "overall", overall);
}

const AjStepKind aj_step_health = {
	.name = "health",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
};
