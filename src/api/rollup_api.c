/*-------------------------------------------------------------------------
 *
 * rollup_api.c
 *	  SQL functions that make and drop rollups.
 *
 * A rollup belongs to the owner of its target, who made it.  It comes with a
 * job of its name that refreshes it, unless that is not wanted.
 *
 * No state, no locks of their own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/rollup_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "api/job_spec.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/spi.h"
#include "miscadmin.h"
#include "rollup/define.h"
#include "shmem/wake.h"

PG_FUNCTION_INFO_V1(aggjobs_create_rollup);
PG_FUNCTION_INFO_V1(aggjobs_drop_rollup);

static char *
text_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

static char *
given_argument(FunctionCallInfo fcinfo, int i, const char *what)
{
	if (PG_ARGISNULL(i))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the %s of a rollup must not be NULL", what)));
	return text_argument(fcinfo, i);
}

static int
lookback_argument(FunctionCallInfo fcinfo, int i)
{
	int lookback = PG_ARGISNULL(i) ? 0 : PG_GETARG_INT32(i);

	if (!PG_ARGISNULL(i) && (lookback < 1 || lookback > 100000))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "lookback must be a number of buckets from 1 to 100000, not %d",
				 lookback)));
	return lookback;
}

/* The one step of a rollup's own job. */
static Jsonb *
refresh_steps(const char *name)
{
	AjJson step;

	aj_json_begin(&step);
	aj_json_add_text(&step, "kind", "rollup");
	aj_json_add_text(&step, "rollup", name);
	return aj_json_parse(psprintf("[%s]", aj_json_as_text(aj_json_end(&step))));
}

static void
create_job(const char *name, char *schedule, char *time_zone)
{
	AjJobSpec spec = {0};
	AjJob *job;

	spec.schedule = schedule;
	spec.time_zone = time_zone;
	spec.steps = refresh_steps(name);
	spec.description = psprintf("refreshes rollup %s", name);
	aj_job_name_check(name);
	job = aj_job_from_spec(name, &spec);
	aj_job_plan_next(job);
	aj_wake_job(aj_job_insert(job));
}

/*
 * aggjobs_create_rollup(name, query, schedule, schema, lookback, epoch,
 *						 time_zone) -> rollup id
 *		Make the table "name" and the view "name_live" for a query, and a job
 *		"name" that refreshes it.
 *
 * Errors: those of rollup/refuse.c, with the position in the query; 42710,
 * 42P07; 22023 for a schedule that is not well formed.
 */
Datum
aggjobs_create_rollup(PG_FUNCTION_ARGS)
{
	char *name = given_argument(fcinfo, 0, "name");
	char *query = given_argument(fcinfo, 1, "query");
	char *schedule = text_argument(fcinfo, 2);
	AjDefineOptions options = {
		.lookback = lookback_argument(fcinfo, 4),
		.epoch = text_argument(fcinfo, 5),
	};
	AjRollup *rollup;

	rollup = aj_rollup_create(name, text_argument(fcinfo, 3),
							  aj_define(query, &options));
	if (schedule != NULL)
		create_job(name, schedule, text_argument(fcinfo, 6));
	PG_RETURN_INT64(rollup->rollup_id);
}

/* Is a job nothing but the refresh of this rollup? */
static bool
is_own_job(const AjJob *job, const char *name)
{
	Jsonb *step;
	char *kind;
	char *rollup;

	if (aj_json_length(job->steps) != 1)
		return false;
	step = aj_json_element(job->steps, 0);
	kind = aj_json_text_field(step, "kind");
	rollup = aj_json_text_field(step, "rollup");
	return kind != NULL && rollup != NULL && strcmp(kind, "rollup") == 0 &&
		strcmp(rollup, name) == 0;
}

static void
drop_own_job(const char *name)
{
	AjJob *job = aj_job_find(name, true);

	if (job == NULL || !is_own_job(job, name) || !aj_job_may_act(job))
		return;
	aj_job_delete(job->job_id);
	aj_wake_job(job->job_id);
}

/*
 * aggjobs_drop_rollup(name, keep_table)
 *		Drop a rollup, its live view, its own job and, unless keep_table, its
 *		table.
 *
 * Errors: 42704, 42501 from the DDL, 2BP01 while something depends on it.
 */
Datum
aggjobs_drop_rollup(PG_FUNCTION_ARGS)
{
	char *name = given_argument(fcinfo, 0, "name");
	bool keep_table = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);

	aj_rollup_drop(aj_rollup_find(name, false), keep_table);
	drop_own_job(name);
	PG_RETURN_VOID();
}
