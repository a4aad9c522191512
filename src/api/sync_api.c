/*-------------------------------------------------------------------------
 *
 * sync_api.c
 *	  aggjobs_sync_jobs(): declare the wanted jobs; the table follows.
 *
 * Each declared job that is missing is created, each that differs is changed;
 * what the declaration does not mention keeps its value.  With prune, the
 * caller's other jobs are dropped, but never those of the ready-made
 * pipeline.  All of it is one transaction.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/sync_api.c
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
#include "miscadmin.h"
#include "shmem/wake.h"
#include "utils/fmgrprotos.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(aggjobs_sync_jobs);

typedef struct Sync
{
	ReturnSetInfo *result;
	bool dry_run;
} Sync;

static void
tell(const Sync *sync, const char *action, const char *name,
	 const char *changes)
{
	Datum values[3];
	bool nulls[3] = {false, false, changes == NULL};

	values[0] = CStringGetTextDatum(action);
	values[1] = CStringGetTextDatum(name);
	values[2] = changes == NULL ? (Datum) 0 : CStringGetTextDatum(changes);
	tuplestore_putvalues(sync->result->setResult, sync->result->setDesc, values,
						 nulls);
}

/* A job as name-value texts, for comparison. */
typedef struct Field
{
	const char *name;
	char *value; /* NULL for none */
} Field;

#define MAX_FIELDS 22

static char *
interval_text(Interval *interval)
{
	if (interval == NULL)
		return NULL;
	return DatumGetCString(
		DirectFunctionCall1(interval_out, IntervalPGetDatum(interval)));
}

static void
fields_of(const AjJob *job, Field *fields)
{
	const AjPolicy *p = &job->policy;
	const Field all[MAX_FIELDS] = {
		{"schedule", job->schedule},
		{"time_zone", job->time_zone},
		{"steps", aj_json_as_text(job->steps)},
		{"enabled", job->enabled ? "true" : "false"},
		{"description", job->description},
		{"timeout", interval_text(job->timeout)},
		{"memory_limit", psprintf(INT64_FORMAT, job->memory_limit)},
		{"settings", aj_json_as_text(job->settings)},
		{"keep_successes", psprintf("%d", job->keep_successes)},
		{"keep_failures", psprintf("%d", job->keep_failures)},
		{"keep_age", interval_text(job->keep_age)},
		{"owner", job->owner_name},
		{"catch_up", unconstify(char *, aj_catch_up_names[p->catch_up])},
		{"catch_up_limit", psprintf("%d", p->catch_up_limit)},
		{"start_deadline", interval_text(p->start_deadline)},
		{"overlap", unconstify(char *, aj_overlap_names[p->overlap])},
		{"retries", p->retries < 0 ? NULL : psprintf("%d", p->retries)},
		{"retry_delay", interval_text(p->retry_delay)},
		{"retry_delay_limit", interval_text(p->retry_delay_limit)},
		{"queue", p->queue},
		{"priority", psprintf("%d", p->priority)},
		{"nice", psprintf("%d", p->nice)},
	};

	memcpy(fields, all, sizeof(all));
}

/* What differs between two states of a job, in words; NULL if nothing does. */
static char *
differences(const AjJob *before, const AjJob *after)
{
	Field old[MAX_FIELDS];
	Field new[MAX_FIELDS];
	StringInfoData text;

	fields_of(before, old);
	fields_of(after, new);
	initStringInfo(&text);
	for (int i = 0; i < MAX_FIELDS; i++)
	{
		const char *x = old[i].value == NULL ? "none" : old[i].value;
		const char *y = new[i].value == NULL ? "none" : new[i].value;

		if (strcmp(x, y) == 0)
			continue;
		appendStringInfo(&text, "%s%s: %s -> %s", text.len == 0 ? "" : "; ",
						 new[i].name, aj_clip(x), aj_clip(y));
	}
	return text.len == 0 ? NULL : text.data;
}

/* The same for the jobs that a job runs after; "changes" may be NULL. */
static char *
add_difference_of_after(char *changes, const AjJob *job, const AjJobSpec *spec)
{
	char *before;
	char *after;

	if (!spec->has_after)
		return changes;
	before = aj_after_text(aj_after_names(job->job_id));
	after = aj_after_text(spec->after);
	if (strcmp(before, after) == 0)
		return changes;
	return psprintf("%s%safter: %s -> %s", changes == NULL ? "" : changes,
					changes == NULL ? "" : "; ", before, after);
}

static bool
timing_changed(const AjJob *before, const AjJob *after)
{
	if (before->enabled != after->enabled ||
		before->database_oid != MyDatabaseId ||
		strcmp(before->time_zone, after->time_zone) != 0)
		return true;
	if (before->schedule == NULL || after->schedule == NULL)
		return before->schedule != after->schedule;
	return strcmp(before->schedule, after->schedule) != 0;
}

static void
create(const Sync *sync, const char *name, const AjJobSpec *spec)
{
	AjJob *job = aj_job_from_spec(name, spec);

	aj_job_plan_next(job);
	if (!sync->dry_run)
	{
		job->job_id = aj_job_insert(job);
		aj_wake_job(job->job_id);
	}
	tell(sync, "create", name, NULL);
}

static void
change(const Sync *sync, AjJob *job, const AjJobSpec *spec)
{
	AjJob before = *job;
	char *changes;

	aj_job_apply_spec(job, spec);
	changes = add_difference_of_after(differences(&before, job), job, spec);
	if (changes != NULL && timing_changed(&before, job))
		aj_job_plan_next(job);
	if (changes != NULL && !sync->dry_run)
	{
		aj_job_update(job);
		aj_wake_job(job->job_id);
	}
	tell(sync, changes == NULL ? "keep" : "change", job->name, changes);
}

/* Once all declared jobs are there, as they may name later ones. */
static void
set_after(const Jsonb *json)
{
	AjJobSpec spec;
	char *name;

	aj_job_spec_from_json(json, &spec, &name);
	if (spec.has_after)
		aj_after_set(aj_job_find_to_change(name), spec.after);
}

/* Bring one declared job about; returns its name. */
static char *
sync_one(const Sync *sync, const Jsonb *json)
{
	AjJobSpec spec;
	char *name;

	aj_job_spec_from_json(json, &spec, &name);
	if (aj_job_find(name, true) == NULL)
		create(sync, name, &spec);
	else
		change(sync, aj_job_find_to_change(name), &spec);
	return name;
}

static bool
is_among(const char *name, char **names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void
drop_others(const Sync *sync, char **declared, int ndeclared)
{
	int n;
	char **names = aj_job_names(&n, true);

	for (int i = 0; i < n; i++)
	{
		AjJob *job = aj_job_find(names[i], true);

		CHECK_FOR_INTERRUPTS();
		if (job == NULL || job->builtin || job->owner != GetUserId() ||
			is_among(names[i], declared, ndeclared))
			continue;
		if (!sync->dry_run)
		{
			aj_job_delete(job->job_id);
			aj_wake_job(job->job_id);
		}
		tell(sync, "drop", job->name, NULL);
	}
}

/*
 * aggjobs_sync_jobs(jobs jsonb, prune, dry_run)
 *		-> setof (action, job_name, changes)
 *		"jobs" is an array of objects with the arguments of
 *		aggjobs_create_job(), or with "command" in place of "steps".  action
 *		is create, change, keep or drop; with dry_run it is what would be
 *		done.
 *
 * Errors: 22023 for what is not well formed, a name that comes twice
 * included; 42501 for somebody else's job.
 */
Datum
aggjobs_sync_jobs(PG_FUNCTION_ARGS)
{
	Sync sync;
	Jsonb *jobs;
	bool prune = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	char **declared;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	sync.result = (ReturnSetInfo *) fcinfo->resultinfo;
	sync.dry_run = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	if (!sync.dry_run)
		aj_require_primary(fcinfo);
	jobs = PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0);
	if (jobs == NULL || !aj_json_is_array(jobs))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("jobs must be a JSON array of objects"),
			 errhint(
				 "Write [{\"name\": \"a\", \"schedule\": \"@daily\", \"command\": \"SELECT 1\"}].")));
	n = aj_json_length(jobs);
	declared = palloc(sizeof(char *) * (Size) Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		declared[i] = sync_one(&sync, aj_json_element(jobs, i));
		if (is_among(declared[i], declared, i))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("job \"%s\" is declared twice", declared[i])));
	}
	for (int i = 0; i < n && !sync.dry_run; i++)
		set_after(aj_json_element(jobs, i));
	if (prune)
		drop_others(&sync, declared, n);
	PG_RETURN_NULL();
}
