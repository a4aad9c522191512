/*-------------------------------------------------------------------------
 *
 * step.c
 *	  The table of step kinds, and the check of a job's steps.
 *
 * A step is a JSON object with a "kind" and the keys of that kind.  No state,
 * no locks.  Errors are 22023, with what would be accepted in the hint.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/step.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "run/step.h"

#define MAX_STEPS 100

static const AjStepKind *const kinds[] = {
	&aj_step_backfill, &aj_step_command,   &aj_step_health, &aj_step_matview,
	&aj_step_parts,	   &aj_step_retention, &aj_step_rollup, &aj_step_verify,
};

static char *
kind_names(void)
{
	StringInfoData text;

	initStringInfo(&text);
	for (size_t i = 0; i < lengthof(kinds); i++)
		appendStringInfo(&text, "%s%s", i == 0 ? "" : ", ", kinds[i]->name);
	return text.data;
}

/*
 * aj_step_kind
 *		The kind of a step.
 */
const AjStepKind *
aj_step_kind(const Jsonb *step)
{
	char *name;

	if (!aj_json_is_object(step))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a step must be a JSON object, not %s",
					aj_clip(aj_json_as_text(step))),
			 errhint(
				 "Write steps like [{\"kind\": \"command\", \"command\": \"SELECT 1\"}].")));
	name = aj_json_text_field(step, "kind");
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step %s has no \"kind\"",
						aj_clip(aj_json_as_text(step))),
				 errhint("Accepted kinds are: %s.", kind_names())));
	for (size_t i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of step \"%s\"", aj_clip(name)),
			 errhint("Accepted kinds are: %s.", kind_names())));
}

/*
 * aj_steps_check
 *		Refuse steps that could never run: not an array, empty, unknown kinds
 *		or keys, things that do not exist.
 */
void
aj_steps_check(const Jsonb *steps)
{
	int n;

	if (!aj_json_is_array(steps))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("steps must be a JSON array of objects"),
			 errhint(
				 "Write steps like [{\"kind\": \"command\", \"command\": \"SELECT 1\"}].")));
	n = aj_json_length(steps);
	if (n == 0 || n > MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a job must have 1 to %d steps, not %d", MAX_STEPS,
						n)));
	for (int i = 0; i < n; i++)
	{
		Jsonb *step = aj_json_element(steps, i);
		const AjStepKind *kind = aj_step_kind(step);

		aj_json_check_keys(step, psprintf("a step of kind \"%s\"", kind->name),
						   kind->keys);
		kind->check(step);
	}
}
