/*-------------------------------------------------------------------------
 *
 * job_spec.c
 *	  What a user says about a job, checked and applied to it.
 *
 * The same checks serve aggjobs_create_job(), aggjobs_alter_job() and
 * aggjobs_sync_jobs().  Every error names the value and what to write
 * instead.  No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/job_spec.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "api/job_spec.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/spi.h"
#include "catalog/after.h"
#include "catalog/queue.h"
#include "catalog/setting.h"
#include "miscadmin.h"
#include "run/job_settings.h"
#include "run/step.h"
#include "time/schedule.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#define LONGEST_NAME 100
#define LONGEST_SCHEDULE 1000
#define LONGEST_DESCRIPTION 10000
#define LONGEST_YEARS 1000

#define DEFAULT_CATCH_UP_LIMIT 100

static const char *const json_keys[] = {
	"name",
	"schedule",
	"steps",
	"command",
	"time_zone",
	"description",
	"timeout",
	"memory_limit",
	"settings",
	"enabled",
	"keep_successes",
	"keep_failures",
	"keep_age",
	"owner",
	"catch_up",
	"catch_up_limit",
	"start_deadline",
	"overlap",
	"retries",
	"retry_delay",
	"retry_delay_limit",
	"queue",
	"priority",
	"nice",
	"after",
	NULL,
};

static void
refuse_long(const char *what, const char *text, size_t longest)
{
	if (strlen(text) > longest)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is longer than %zu bytes", what, longest),
				 errdetail("It begins with \"%s\".", aj_clip(text))));
}

/* A name is 1 to 100 bytes without control characters. */
void
aj_job_name_check(const char *name)
{
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the name of a job must not be NULL"),
				 errhint(
					 "List the jobs with SELECT job_name FROM aggjobs.jobs.")));
	refuse_long("the name of the job", name, LONGEST_NAME);
	if (name[0] == '\0' || strcmp(aj_clip(name), name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a job: \"%s\"", aj_clip(name)),
				 errhint("A name has 1 to %d bytes and no control characters.",
						 LONGEST_NAME)));
}

static void
set_schedule(AjJob *job, const char *schedule)
{
	AjSchedule parsed;

	if (schedule[0] == '\0')
	{
		job->schedule = NULL;
		return;
	}
	refuse_long("the schedule", schedule, LONGEST_SCHEDULE);
	aj_schedule_check(aj_setting_expand(schedule), &parsed);
	job->schedule = pstrdup(schedule);
}

/*
 * An interval from 0 to a length that can be added to or taken from any
 * present time: one that can't would fail in the scheduler, for all jobs.
 */
static Interval *
checked_interval(const char *what, Interval *interval)
{
	Interval zero = {0};
	Interval longest = {.month = LONGEST_YEARS * MONTHS_PER_YEAR};

	if (DatumGetInt32(DirectFunctionCall2(interval_cmp,
										  IntervalPGetDatum(interval),
										  IntervalPGetDatum(&zero))) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", what)));
	if (DatumGetInt32(DirectFunctionCall2(interval_cmp,
										  IntervalPGetDatum(interval),
										  IntervalPGetDatum(&longest))) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is longer than %d years", what, LONGEST_YEARS)));
	if (interval->month == 0 && interval->day == 0 && interval->time == 0)
		return NULL;
	return interval;
}

static int64
parse_memory(const char *text)
{
	int64 bytes;

	bytes = DatumGetInt64(
		DirectFunctionCall1(pg_size_bytes, CStringGetTextDatum(text)));
	if (bytes != 0 && bytes < 1024 * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("memory_limit \"%s\" is too small", aj_clip(text)),
				 errhint("Write at least '1MB', or '0' for no limit.")));
	return bytes;
}

static int
checked_int(const char *what, int value, int least, int most)
{
	if (value < least || value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between %d and %d, not %d", what, least,
						most, value)));
	return value;
}

/* Which of the words it is. */
static int
checked_word(const char *what, const char *word, const char *const *words)
{
	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s: \"%s\"", what, aj_clip(word)),
			 errhint("Write \"%s\", \"%s\" or \"%s\".", words[0], words[1],
					 words[2])));
}

/* The new owner must be a role that the current user can act as. */
static void
set_owner(AjJob *job, const char *name)
{
	Oid owner = get_role_oid(name, true);

	if (owner == InvalidOid)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("role \"%s\" does not exist", aj_clip(name)),
			 errhint(
				 "List the roles with \\du, or SELECT rolname FROM pg_roles.")));
	if (!aj_can_become(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be member of role \"%s\" to give it a job", name),
				 errhint("Ask a superuser, or a member of that role.")));
	job->owner = owner;
	job->owner_name = pstrdup(name);
}

/*
 * A setting may be turned on later, so a superuser's job can be made while it
 * is off; CREATE EXTENSION and a restore depend on that.
 */
static void
check_owner(const AjJob *job)
{
	const char *problem;

	if (!aj_allow_superuser_jobs && superuser_arg(job->owner))
	{
		ereport(WARNING,
				(errmsg("job \"%s\" will not run while "
						"aggjobs.allow_superuser_jobs is off",
						job->name),
				 errdetail("Its owner, role \"%s\", is a superuser.",
						   job->owner_name)));
		return;
	}
	problem = aj_job_owner_problem(job->owner, job->owner_name, MyDatabaseId);
	if (problem != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("job \"%s\" could never run", job->name),
			 errdetail("%s.", problem),
			 errhint(
				 "Runs connect as the owner of the job: the role needs LOGIN, and CONNECT on the database.")));
}

/* When its runs start, wait and are tried again. */
static void
apply_policy(AjPolicy *policy, const AjJobSpec *spec)
{
	if (spec->catch_up != NULL)
		policy->catch_up =
			checked_word("catch_up", spec->catch_up, aj_catch_up_names);
	if (spec->has_catch_up_limit)
		policy->catch_up_limit =
			checked_int("catch_up_limit", spec->catch_up_limit, 1, 1000);
	if (spec->start_deadline != NULL)
		policy->start_deadline =
			checked_interval("start_deadline", spec->start_deadline);
	if (spec->overlap != NULL)
		policy->overlap =
			checked_word("overlap", spec->overlap, aj_overlap_names);
	if (spec->has_retries)
		policy->retries = checked_int("retries", spec->retries, -1, 100);
	if (spec->retry_delay != NULL)
		policy->retry_delay =
			checked_interval("retry_delay", spec->retry_delay);
	if (spec->retry_delay_limit != NULL)
		policy->retry_delay_limit =
			checked_interval("retry_delay_limit", spec->retry_delay_limit);
	if (spec->queue != NULL)
		policy->queue = aj_queue_checked(spec->queue);
	if (spec->has_priority)
		policy->priority = checked_int("priority", spec->priority, -100, 100);
	if (spec->has_nice)
		policy->nice = checked_int("nice", spec->nice, 0, 19);
}

/*
 * aj_job_apply_spec
 *		Check what was said and change "job" accordingly; all else stays.
 */
void
aj_job_apply_spec(AjJob *job, const AjJobSpec *spec)
{
	if (spec->new_name != NULL)
	{
		aj_job_name_check(spec->new_name);
		job->name = pstrdup(spec->new_name);
	}
	if (spec->owner != NULL)
		set_owner(job, spec->owner);
	if (spec->time_zone != NULL)
	{
		(void) aj_zone_lookup(spec->time_zone);
		job->time_zone = pstrdup(spec->time_zone);
	}
	if (spec->schedule != NULL)
		set_schedule(job, spec->schedule);
	if (spec->steps != NULL)
	{
		aj_steps_check(spec->steps);
		job->steps = spec->steps;
	}
	if (spec->description != NULL)
	{
		refuse_long("the description", spec->description, LONGEST_DESCRIPTION);
		job->description = spec->description;
	}
	if (spec->timeout != NULL)
		job->timeout = checked_interval("timeout", spec->timeout);
	if (spec->memory_limit != NULL)
		job->memory_limit = parse_memory(spec->memory_limit);
	if (spec->settings != NULL)
	{
		aj_job_settings_check(spec->settings);
		job->settings = spec->settings;
	}
	if (spec->has_enabled)
		job->enabled = spec->enabled;
	if (spec->has_keep_successes)
		job->keep_successes =
			checked_int("keep_successes", spec->keep_successes, 0, 1000000);
	if (spec->has_keep_failures)
		job->keep_failures =
			checked_int("keep_failures", spec->keep_failures, 0, 1000000);
	if (spec->keep_age != NULL)
		job->keep_age = checked_interval("keep_age", spec->keep_age);
	apply_policy(&job->policy, spec);
	/* What is paused may stay so, whatever has become of its owner. */
	if (job->enabled || spec->owner != NULL)
		check_owner(job);
}

/*
 * aj_job_from_spec
 *		A new job of the current user, with defaults for what was not said.
 */
AjJob *
aj_job_from_spec(const char *name, const AjJobSpec *spec)
{
	AjJob *job = palloc0(sizeof(AjJob));

	aj_job_name_check(name);
	if (spec->steps == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("job \"%s\" has no steps", name),
			 errhint(
				 "Write steps like [{\"kind\": \"command\", \"command\": \"SELECT 1\"}].")));
	job->name = pstrdup(name);
	job->owner = GetUserId();
	job->owner_name = GetUserNameFromId(GetUserId(), false);
	job->time_zone = "UTC";
	job->enabled = true;
	job->settings = aj_json_parse("{}");
	job->keep_successes = -1;
	job->keep_failures = -1;
	job->policy.catch_up = AJ_CATCH_UP_LAST;
	job->policy.catch_up_limit = DEFAULT_CATCH_UP_LIMIT;
	job->policy.retries = -1;
	job->last_ended_at = AJ_NO_TIME;
	job->next_slot = AJ_NO_TIME;
	aj_job_apply_spec(job, spec);
	return job;
}

/*
 * aj_job_plan_next
 *		Plan the next slot of a job whose schedule has just begun to count.
 */
void
aj_job_plan_next(AjJob *job)
{
	AjSchedule schedule;
	TimestampTz now = aj_now();

	job->next_slot = AJ_NO_TIME;
	if (!job->enabled || job->schedule == NULL)
		return;
	aj_schedule_check(aj_setting_expand(job->schedule), &schedule);
	if (schedule.kind == AJ_SCHEDULE_START)
		return;
	if (schedule.kind == AJ_SCHEDULE_AFTER && job->last_ended_at == AJ_NO_TIME)
	{
		job->next_slot = now;
		return;
	}
	if (schedule.kind == AJ_SCHEDULE_AFTER)
	{
		if (aj_next_slot(&schedule, aj_zone_lookup(job->time_zone),
						 job->last_ended_at, &job->next_slot))
			job->next_slot = Max(job->next_slot, now);
		return;
	}
	if (!aj_next_slot(&schedule, aj_zone_lookup(job->time_zone), now,
					  &job->next_slot))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("schedule \"%s\" has no slot after now",
					aj_clip(job->schedule)),
			 errhint(
				 "See what it means with SELECT aggjobs_preview_schedule(schedule, time_zone, 5, after).")));
}

/* The steps of a job that runs one SQL command. */
Jsonb *
aj_job_command_steps(const char *command)
{
	AjJson step;
	JsonbParseState *state = NULL;
	JsonbValue value;
	Jsonb *object;

	aj_json_begin(&step);
	aj_json_add_text(&step, "kind", "command");
	aj_json_add_text(&step, "command", command);
	object = aj_json_end(&step);

	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	value.type = jbvBinary;
	value.val.binary.data = &object->root;
	value.val.binary.len = (int) VARSIZE(object) - VARHDRSZ;
	(void) pushJsonbValue(&state, WJB_ELEM, &value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

static Interval *
json_interval(const Jsonb *json, const char *key)
{
	char *text = aj_json_text_field(json, key);

	if (text == NULL)
		return NULL;
	return DatumGetIntervalP(
		DirectFunctionCall3(interval_in, CStringGetDatum(text),
							ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static bool
json_int(const Jsonb *json, const char *key, int *value)
{
	char *text = aj_json_text_field(json, key);

	if (text == NULL)
		return false;
	*value = pg_strtoint32(text);
	return true;
}

/* A text or an array of texts, as names of jobs. */
static List *
json_names(const Jsonb *json, const char *key)
{
	Jsonb *names = aj_json_field(json, key);
	List *list = NIL;

	if (names == NULL || !aj_json_is_array(names))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be an array of names of jobs", key)));
	for (int i = 0; i < aj_json_length(names); i++)
		list = lappend(list, aj_json_as_text(aj_json_element(names, i)));
	return list;
}

static void
policy_from_json(const Jsonb *json, AjJobSpec *spec)
{
	spec->catch_up = aj_json_text_field(json, "catch_up");
	spec->has_catch_up_limit =
		json_int(json, "catch_up_limit", &spec->catch_up_limit);
	spec->start_deadline = json_interval(json, "start_deadline");
	spec->overlap = aj_json_text_field(json, "overlap");
	spec->has_retries = json_int(json, "retries", &spec->retries);
	spec->retry_delay = json_interval(json, "retry_delay");
	spec->retry_delay_limit = json_interval(json, "retry_delay_limit");
	spec->queue = aj_json_text_field(json, "queue");
	spec->has_priority = json_int(json, "priority", &spec->priority);
	spec->has_nice = json_int(json, "nice", &spec->nice);
	spec->has_after = aj_json_field(json, "after") != NULL;
	if (spec->has_after)
		spec->after = json_names(json, "after");
}

/*
 * aj_job_spec_from_json
 *		Read what a JSON object says about a job, and its name.
 */
void
aj_job_spec_from_json(const Jsonb *json, AjJobSpec *spec, char **name)
{
	char *enabled;
	char *command;

	memset(spec, 0, sizeof(*spec));
	if (!aj_json_is_object(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a job must be a JSON object, not %s",
						aj_clip(aj_json_as_text(json)))));
	aj_json_check_keys(json, "a job", json_keys);
	*name = aj_json_text_field(json, "name");
	aj_job_name_check(*name);
	spec->schedule = aj_json_text_field(json, "schedule");
	spec->steps = aj_json_field(json, "steps");
	command = aj_json_text_field(json, "command");
	if (command != NULL && spec->steps != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("job \"%s\" has both \"steps\" and \"command\"", *name),
			 errhint(
				 "\"command\" is short for one step of kind \"command\".")));
	if (command != NULL)
		spec->steps = aj_job_command_steps(command);
	spec->time_zone = aj_json_text_field(json, "time_zone");
	spec->description = aj_json_text_field(json, "description");
	spec->timeout = json_interval(json, "timeout");
	spec->memory_limit = aj_json_text_field(json, "memory_limit");
	spec->settings = aj_json_field(json, "settings");
	spec->owner = aj_json_text_field(json, "owner");
	spec->keep_age = json_interval(json, "keep_age");
	spec->has_keep_successes =
		json_int(json, "keep_successes", &spec->keep_successes);
	spec->has_keep_failures =
		json_int(json, "keep_failures", &spec->keep_failures);
	policy_from_json(json, spec);
	enabled = aj_json_text_field(json, "enabled");
	spec->has_enabled = enabled != NULL;
	if (enabled != NULL && !parse_bool(enabled, &spec->enabled))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"enabled\" of job \"%s\" must be true or false",
						*name)));
}
