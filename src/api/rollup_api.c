/*-------------------------------------------------------------------------
 *
 * rollup_api.c
 *	  SQL functions that make, alter and drop rollups.
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

#include "api/arguments.h"
#include "api/job_spec.h"
#include "base/json.h"
#include "base/spi.h"
#include "catalog/run.h"
#include "catalog/succession.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "rollup/alter.h"
#include "shmem/wake.h"

PG_FUNCTION_INFO_V1(aggjobs_create_rollup);
PG_FUNCTION_INFO_V1(aggjobs_alter_rollup);
PG_FUNCTION_INFO_V1(aggjobs_drop_rollup);

/* As that of aggjobs_create_rollup(). */
#define DEFAULT_SCHEDULE "every 5 minutes"

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

	aj_require_primary(fcinfo);
	rollup = aj_rollup_create(name, text_argument(fcinfo, 3),
							  aj_define(query, &options));
	if (schedule != NULL)
		create_job(name, schedule, text_argument(fcinfo, 6));
	PG_RETURN_INT64(rollup->rollup_id);
}

/* Give up an alteration that is not complete. */
static void
drop_successor(const char *name)
{
	AjRollup *successor = aj_succession_find(name);

	if (successor == NULL)
		return;
	aj_rollup_drop(successor, false);
	aj_job_delete_of_rollup(successor->name, false);
}

static void
put_difference(ReturnSetInfo *result, const AjDifference *difference)
{
	const char *const texts[] = {difference->part, difference->name,
								 difference->change, difference->before,
								 difference->after};
	Datum values[lengthof(texts)] = {0};
	bool isnull[lengthof(texts)] = {0};

	for (int i = 0; i < (int) lengthof(texts); i++)
	{
		isnull[i] = texts[i] == NULL;
		if (!isnull[i])
			values[i] = CStringGetTextDatum(texts[i]);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
}

/* The refill goes on by the schedule of the rollup's job, and begins now. */
static void
create_refill_job(const AjRollup *rollup, const AjRollup *successor)
{
	AjJob *own = aj_job_find(rollup->name, true);
	char *schedule =
		own == NULL || own->schedule == NULL ? DEFAULT_SCHEDULE : own->schedule;
	AjJob *job;

	create_job(successor->name, schedule, own == NULL ? "UTC" : own->time_zone);
	job = aj_job_find(successor->name, false);
	(void) aj_run_insert(job->job_id, job->name, job->owner, AJ_NO_TIME, 1,
						 "manual");
	aj_wake_runs();
	ereport(
		NOTICE,
		(errmsg("rollup \"%s\" is being computed anew as \"%s\"", rollup->name,
				successor->name),
		 errdetail(
			 "Until that is done it answers as before; job \"%s\" does it.",
			 successor->name),
		 errhint(
			 "See how far it is with SELECT * FROM aggjobs.rollups WHERE replaces = %s; give it up with SELECT aggjobs_drop_rollup(%s).",
			 quote_literal_cstr(rollup->name),
			 quote_literal_cstr(successor->name))));
}

static void
alter(AjRollup *rollup, AjDefinition *definition, const List *differences)
{
	drop_successor(rollup->name);
	if (differences != NIL)
		create_refill_job(rollup,
						  aj_alter_begin(rollup, definition, differences));
}

/*
 * aggjobs_alter_rollup(name, query, dry_run)
 *			-> part, name, change, before, after
 *		Give a rollup another query: what differs from the present one, a row
 *		each.  Unless dry_run, it is computed anew under another name, in the
 *		background, and then takes the place of the present one.  What was
 *		begun before and is not complete is given up.
 *
 * Errors: those of rollup/refuse.c, with the position in the query; 42501;
 * 0A000, 2BP01, 55000 where something stands in the way.
 */
Datum
aggjobs_alter_rollup(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AjRollup *rollup = aj_rollup_find(given_argument(fcinfo, 0, "name"), false);
	char *query = given_argument(fcinfo, 1, "query");
	bool dry_run = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	AjDefineOptions options = {.lookback = rollup->lookback};
	AjDefinition *definition;
	List *differences;
	ListCell *cell;
	Oid saved_user;
	int saved_context;

	aj_require_primary(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	aj_rollup_check_owner(rollup);
	if (rollup->bucket.epoch != AJ_EPOCH_NONE)
		options.epoch = aj_epoch_text(rollup->bucket.epoch);
	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(aj_owner_of(rollup->target),
						   saved_context | SECURITY_LOCAL_USERID_CHANGE);
	definition = aj_define(query, &options);
	differences = aj_alter_plan(rollup, definition);
	if (!dry_run)
		alter(rollup, definition, differences);
	SetUserIdAndSecContext(saved_user, saved_context);
	foreach (cell, differences)
		put_difference(result, lfirst(cell));
	PG_RETURN_NULL();
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

	aj_require_primary(fcinfo);
	drop_successor(name);
	aj_rollup_drop(aj_rollup_find(name, false), keep_table);
	aj_job_delete_of_rollup(name, false);
	PG_RETURN_VOID();
}
