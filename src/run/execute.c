/*-------------------------------------------------------------------------
 *
 * execute.c
 *	  What running a job's steps in a worker and in a session have in common.
 *
 * No state, no locks of its own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/execute.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/settings.h"
#include "base/spi.h"
#include "miscadmin.h"
#include "run/execute.h"
#include "run/job_settings.h"
#include "utils/fmgrprotos.h"

/*
 * aj_execute_deadline
 *		When a run of this job that starts at "start" is over its time limit;
 *		DT_NOEND without limit.
 */
TimestampTz
aj_execute_deadline(const AjJob *job, TimestampTz start)
{
	if (job->timeout != NULL)
		return DatumGetTimestampTz(DirectFunctionCall2(
			timestamptz_pl_interval, TimestampTzGetDatum(start),
			IntervalPGetDatum(job->timeout)));
	if (aj_default_timeout > 0)
		return TimestampTzPlusMilliseconds(start, aj_default_timeout);
	return DT_NOEND;
}

/*
 * aj_execute_step
 *		Run one step; returns its result in figures, in host->context.
 */
Jsonb *
aj_execute_step(const Jsonb *step, AjStepHost *host)
{
	const AjStepKind *kind = aj_step_kind(step);
	TimestampTz start = aj_now();
	AjJson result;
	Jsonb *json;

	MemoryContextSwitchTo(host->context);
	aj_json_begin(&result);
	aj_json_add_text(&result, "kind", kind->name);
	kind->run(step, host, &result);
	MemoryContextSwitchTo(host->context);
	aj_json_add_int(&result, "milliseconds", (aj_now() - start) / 1000);
	json = aj_json_end(&result);
	return json;
}

/*
 * aj_execute_may_here
 *		May this session run what the owner of the job has written?
 *
 * It must have been opened by the owner: with the rights of somebody else it
 * must not run, and a session that only acts as the owner could be led back by
 * RESET ROLE to the rights that it came with.
 */
bool
aj_execute_may_here(const AjJob *job)
{
	return job->owner == GetUserId() && job->owner == GetAuthenticatedUserId();
}

/*
 * aj_execute_plan
 *		Say in NOTICEs what a run of this job would do, and change nothing.
 *		Nothing that the owner has written is run with the rights of another.
 */
void
aj_execute_plan(const AjJob *job, TimestampTz at)
{
	AjStepHost host = {
		.job_id = job->job_id,
		.at = at,
		.now = aj_now(),
		.context = CurrentMemoryContext,
		.may_look = aj_execute_may_here(job),
	};

	for (int i = 0; i < aj_json_length(job->steps); i++)
	{
		Jsonb *step = aj_json_element(job->steps, i);

		aj_step_kind(step)->plan(step, &host);
	}
}
