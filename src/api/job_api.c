/*-------------------------------------------------------------------------
 *
 * job_api.c
 *	  SQL functions that make, change and remove jobs.
 *
 * Each checks arguments and rights, writes the tables and wakes the scheduler
 * at commit.  The tables are written with the rights of the extension's
 * owner, so what may be done is decided here: a job belongs to who makes it,
 * and only its owner, or a member of that role, changes it.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/job_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "api/job_spec.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/spi.h"
#include "catalog/after.h"
#include "catalog/queue.h"
#include "catalog/setting.h"
#include "miscadmin.h"
#include "run/retention_rules.h"
#include "run/step.h"
#include "shmem/segment.h"
#include "shmem/wake.h"

PG_FUNCTION_INFO_V1(aggjobs_create_job);
PG_FUNCTION_INFO_V1(aggjobs_schedule);
PG_FUNCTION_INFO_V1(aggjobs_alter_job);
PG_FUNCTION_INFO_V1(aggjobs_drop_job);
PG_FUNCTION_INFO_V1(aggjobs_pause);
PG_FUNCTION_INFO_V1(aggjobs_resume);
PG_FUNCTION_INFO_V1(aggjobs_set);
PG_FUNCTION_INFO_V1(aggjobs_set_queue);
PG_FUNCTION_INFO_V1(aggjobs_drop_queue);

/* Of aggjobs_alter_job(): they follow what it has in common with create. */
#define NEW_NAME_ARGUMENT 24
#define COMMAND_ARGUMENT 25

static char *
text_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

static char *
name_argument(FunctionCallInfo fcinfo, int i)
{
	char *name = text_argument(fcinfo, i);

	aj_job_name_check(name);
	return name;
}

static bool
int_argument(FunctionCallInfo fcinfo, int i, int *value)
{
	if (PG_ARGISNULL(i))
		return false;
	*value = PG_GETARG_INT32(i);
	return true;
}

static Interval *
interval_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : PG_GETARG_INTERVAL_P(i);
}

/* The elements of a text[]; error 22004 for a NULL among them. */
static List *
names_argument(FunctionCallInfo fcinfo, int i)
{
	Datum *names;
	bool *nulls;
	int n;
	List *list = NIL;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(i), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, &nulls, &n);
	for (int k = 0; k < n; k++)
	{
		char *name = nulls[k] ? NULL : TextDatumGetCString(names[k]);

		aj_job_name_check(name);
		list = lappend(list, name);
	}
	return list;
}

/*
 * catch_up, catch_up_limit, start_deadline, overlap, retries, retry_delay,
 * retry_delay_limit, queue, priority, nice, after.
 */
static void
policy_arguments(FunctionCallInfo fcinfo, int first, AjJobSpec *spec)
{
	spec->catch_up = text_argument(fcinfo, first);
	spec->has_catch_up_limit =
		int_argument(fcinfo, first + 1, &spec->catch_up_limit);
	spec->start_deadline = interval_argument(fcinfo, first + 2);
	spec->overlap = text_argument(fcinfo, first + 3);
	spec->has_retries = int_argument(fcinfo, first + 4, &spec->retries);
	spec->retry_delay = interval_argument(fcinfo, first + 5);
	spec->retry_delay_limit = interval_argument(fcinfo, first + 6);
	spec->queue = text_argument(fcinfo, first + 7);
	spec->has_priority = int_argument(fcinfo, first + 8, &spec->priority);
	spec->has_nice = int_argument(fcinfo, first + 9, &spec->nice);
	spec->has_after = !PG_ARGISNULL(first + 10);
	if (spec->has_after)
		spec->after = names_argument(fcinfo, first + 10);
}

/*
 * Read the arguments that aggjobs_create_job() and aggjobs_alter_job() have in
 * common, which begin at "first": schedule, steps, time_zone, description,
 * timeout, memory_limit, settings, enabled, keep_successes, keep_failures,
 * keep_age, owner, and then those of policy_arguments().
 */
static void
spec_arguments(FunctionCallInfo fcinfo, int first, AjJobSpec *spec)
{
	memset(spec, 0, sizeof(*spec));
	spec->schedule = text_argument(fcinfo, first);
	if (!PG_ARGISNULL(first + 1))
		spec->steps = PG_GETARG_JSONB_P_COPY(first + 1);
	spec->time_zone = text_argument(fcinfo, first + 2);
	spec->description = text_argument(fcinfo, first + 3);
	spec->timeout = interval_argument(fcinfo, first + 4);
	spec->memory_limit = text_argument(fcinfo, first + 5);
	if (!PG_ARGISNULL(first + 6))
		spec->settings = PG_GETARG_JSONB_P_COPY(first + 6);
	spec->has_enabled = !PG_ARGISNULL(first + 7);
	if (spec->has_enabled)
		spec->enabled = PG_GETARG_BOOL(first + 7);
	spec->has_keep_successes =
		int_argument(fcinfo, first + 8, &spec->keep_successes);
	spec->has_keep_failures =
		int_argument(fcinfo, first + 9, &spec->keep_failures);
	spec->keep_age = interval_argument(fcinfo, first + 10);
	if (!PG_ARGISNULL(first + 11))
		spec->owner = NameStr(*PG_GETARG_NAME(first + 11));
	policy_arguments(fcinfo, first + 12, spec);
}

static int64
create_job(const char *name, const AjJobSpec *spec)
{
	AjJob *job = aj_job_from_spec(name, spec);

	aj_job_plan_next(job);
	job->job_id = aj_job_insert(job);
	if (spec->has_after)
		aj_after_set(job, spec->after);
	aj_wake_job(job->job_id);
	return job->job_id;
}

/*
 * aggjobs_create_job(name, schedule, steps, ...) -> job id
 *		Make a job of ordered steps; a NULL schedule runs it only by hand.
 *
 * Errors: 42710 if the name is taken, 22023 for anything that is not well
 * formed, 42501 for a foreign owner.
 */
Datum
aggjobs_create_job(PG_FUNCTION_ARGS)
{
	char *name = name_argument(fcinfo, 0);
	AjJobSpec spec;

	aj_require_primary(fcinfo);
	spec_arguments(fcinfo, 1, &spec);
	PG_RETURN_INT64(create_job(name, &spec));
}

/*
 * aggjobs_schedule(name, schedule, command, time_zone) -> job id
 *		Make a job that runs one SQL command.
 */
Datum
aggjobs_schedule(PG_FUNCTION_ARGS)
{
	char *name = name_argument(fcinfo, 0);
	AjJobSpec spec = {0};
	char *command = text_argument(fcinfo, 2);

	aj_require_primary(fcinfo);
	if (command == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the command of job \"%s\" must not be NULL", name)));
	spec.schedule = text_argument(fcinfo, 1);
	spec.steps = aj_job_command_steps(command);
	spec.time_zone = text_argument(fcinfo, 3);
	PG_RETURN_INT64(create_job(name, &spec));
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Change a job; a new schedule, zone or state counts from now. */
static void
alter_job(AjJob *job, const AjJobSpec *spec)
{
	AjJob before = *job;

	aj_job_apply_spec(job, spec);
	if (strcmp(before.name, job->name) != 0 &&
		aj_job_find(job->name, true) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("job \"%s\" already exists", job->name)));
	if (!same_text(before.schedule, job->schedule) ||
		!same_text(before.time_zone, job->time_zone) ||
		before.enabled != job->enabled || before.database_oid != MyDatabaseId)
		aj_job_plan_next(job);
	aj_job_update(job);
	if (spec->has_after)
		aj_after_set(job, spec->after);
	aj_wake_job(job->job_id);
}

/*
 * aggjobs_alter_job(name, schedule, steps, ..., new_name, command) -> void
 *		Change what is not NULL; schedule '' means only by hand, a timeout of
 *		0 and a memory_limit of '0' mean no limit.
 *
 * Errors: 42704 for an unknown job, 42501 for somebody else's, and those of
 * aggjobs_create_job().
 */
Datum
aggjobs_alter_job(PG_FUNCTION_ARGS)
{
	char *name = name_argument(fcinfo, 0);
	char *command = text_argument(fcinfo, COMMAND_ARGUMENT);
	AjJobSpec spec;
	AjJob *job;

	aj_require_primary(fcinfo);
	job = aj_job_find_to_change(name);
	spec_arguments(fcinfo, 1, &spec);
	spec.new_name = text_argument(fcinfo, NEW_NAME_ARGUMENT);
	if (command != NULL && spec.steps != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("steps and command can't both be given"),
				 errhint(
					 "command is short for one step of kind \"command\".")));
	if (command != NULL)
		spec.steps = aj_job_command_steps(command);
	alter_job(job, &spec);
	PG_RETURN_VOID();
}

/*
 * aggjobs_drop_job(name) -> void
 *		Remove a job: queued runs are cancelled, a running one ends by itself,
 *		the history stays until its age removes it.
 */
Datum
aggjobs_drop_job(PG_FUNCTION_ARGS)
{
	AjJob *job;

	aj_require_primary(fcinfo);
	job = aj_job_find_to_change(name_argument(fcinfo, 0));
	aj_job_delete(job->job_id);
	aj_wake_job(job->job_id);
	PG_RETURN_VOID();
}

/* Pause or resume one job, or all that the caller may act on. */
static int
set_enabled(FunctionCallInfo fcinfo, bool enabled)
{
	AjJobSpec spec = {.has_enabled = true, .enabled = enabled};
	char **names;
	int n;
	int changed = 0;

	aj_require_primary(fcinfo);
	if (!PG_ARGISNULL(0))
	{
		n = 1;
		names = palloc(sizeof(char *));
		names[0] = name_argument(fcinfo, 0);
	}
	else
		names = aj_job_names(&n, true);

	for (int i = 0; i < n; i++)
	{
		AjJob *job;

		CHECK_FOR_INTERRUPTS();
		/* Of all jobs, one may have been dropped since the names were read. */
		if (PG_ARGISNULL(0) && aj_job_find(names[i], true) == NULL)
			continue;
		job = aj_job_find_to_change(names[i]);
		if (job->enabled == enabled && job->database_oid == MyDatabaseId)
			continue;
		alter_job(job, &spec);
		changed++;
	}
	return changed;
}

/*
 * aggjobs_pause(name) -> number of jobs changed
 *		No new slots for a job, or for all of the caller's jobs if name is
 *		NULL.  Runs that go on are left alone; triggers still work.
 */
Datum
aggjobs_pause(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(set_enabled(fcinfo, false));
}

/*
 * aggjobs_resume(name) -> number of jobs changed
 *		The opposite: the next slot is the first one after now.  Jobs that
 *		came here by a copy of the database start with this, too.
 */
Datum
aggjobs_resume(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(set_enabled(fcinfo, true));
}

static void
check_setting_name(const char *name)
{
	size_t valid;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the name of a setting must not be NULL")));
	valid = strspn(
		name,
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.");
	if (name[0] == '\0' || name[valid] != '\0' || valid > 100 ||
		strchr("0123456789.", name[0]) != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("invalid name of a setting: \"%s\"", aj_clip(name)),
			 errhint(
				 "A name has 1 to 100 letters, digits, dots and underscores, and begins with a letter or underscore.")));
}

static void
check_setting_value(const char *name, const char *value)
{
	if (strlen(value) > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the value of setting \"%s\" is longer than 1000 bytes",
						name)));
	if (strncmp(name, "retention.", 10) == 0)
		aj_retention_check(name + 10, value);
}

/* Plans depend on settings: read the schedules that use one again. */
static void
replan_users_of(const char *name)
{
	char *use = psprintf("${%s}", name);
	char **names;
	int n;

	names = aj_job_names(&n, false);
	for (int i = 0; i < n; i++)
	{
		AjJob *job = aj_job_find(names[i], true);

		CHECK_FOR_INTERRUPTS();
		/* It may have been dropped since the names were read. */
		if (job == NULL || job->schedule == NULL ||
			strstr(job->schedule, use) == NULL)
			continue;
		aj_job_plan_next(job);
		aj_job_set_next_slot(job->job_id, job->next_slot);
		aj_wake_job(job->job_id);
	}
}

static void
check_may_set(const char *what, const char *name)
{
	if (!has_privs_of_role(GetUserId(), aj_catalog_owner()))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to change %s \"%s\"", what,
					aj_clip(name)),
			 errhint(
				 "It is shared by all jobs: ask the owner of the extension.")));
}

/*
 * aggjobs_set(name, value) -> void
 *		Set a setting: the value of ${NAME} in schedules, or the keep of
 *		retention.TABLE.  NULL removes it.  Schedules that use it are planned
 *		again, and if one of them can't be, nothing is changed.
 *
 * Errors: 42501 unless the caller is a member of the extension's owner, as
 * settings are shared by all jobs; 42602 for a bad name, 22023 or 22007 for a
 * bad value.
 */
Datum
aggjobs_set(PG_FUNCTION_ARGS)
{
	char *name = text_argument(fcinfo, 0);
	char *value = text_argument(fcinfo, 1);

	aj_require_primary(fcinfo);
	check_setting_name(name);
	check_may_set("setting", name);
	if (value != NULL)
	{
		check_setting_value(name, value);
		aj_setting_put(name, value);
	}
	else if (!aj_setting_remove(name))
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("setting \"%s\" does not exist", name),
			 errhint(
				 "List the settings with SELECT * FROM aggjobs.settings.")));
	replan_users_of(name);
	PG_RETURN_VOID();
}

/*
 * aggjobs_set_queue(name, max_workers, min_workers) -> void
 *		Make a queue or change its limits: so many runs of its jobs may go on
 *		at once, and so many idle workers are kept for them.
 *
 * Errors: 42501 unless the caller is a member of the extension's owner; 22023
 * for limits below 0 or 1, above 1024, or the wrong way about.
 */
Datum
aggjobs_set_queue(PG_FUNCTION_ARGS)
{
	char *name = text_argument(fcinfo, 0);
	int most = 0;
	int least = 0;

	aj_require_primary(fcinfo);
	aj_queue_name_check(name);
	check_may_set("queue", name);
	if (!int_argument(fcinfo, 1, &most))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("max_workers of queue \"%s\" must not be NULL", name)));
	(void) int_argument(fcinfo, 2, &least);
	if (most < 1 || most > 1024 || least < 0 || least > most)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "invalid limits of queue \"%s\": max_workers %d, min_workers %d",
				 name, most, least),
			 errhint(
				 "max_workers is from 1 to 1024, min_workers from 0 to max_workers.")));
	aj_queue_put(name, most, least);
	aj_wake_runs();
	PG_RETURN_VOID();
}

/*
 * aggjobs_drop_queue(name) -> void
 *		Remove a queue.
 *
 * Errors: 42704 if there is none, 2BP01 if jobs use it, 42501.
 */
Datum
aggjobs_drop_queue(PG_FUNCTION_ARGS)
{
	char *name = text_argument(fcinfo, 0);

	aj_require_primary(fcinfo);
	aj_queue_name_check(name);
	check_may_set("queue", name);
	aj_queue_drop(name);
	PG_RETURN_VOID();
}
