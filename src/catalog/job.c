/*-------------------------------------------------------------------------
 *
 * job.c
 *	  aggjobs.job and aggjobs.job_state: definitions, and where they stand.
 *
 * Every function needs a transaction and works with the rights of the
 * extension's owner; who may act on a job is asked with aj_job_may_act().
 * Results live in the caller's memory context unless one is passed.
 *
 * Who may write next_slot: the functions that change a definition, and the
 * scheduler when it fires a slot.  The scheduler names the slot it fires, so
 * that of two writers one finds nothing to update.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/job.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/spi.h"
#include "catalog/job.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "shmem/wake.h"
#include "utils/array.h"
#include "utils/syscache.h"

#define JOB_COLUMNS                                                                 \
	"SELECT j.job_id, j.job_name, j.description, j.owner::oid, j.owner_name::text," \
	" j.schedule, j.time_zone, j.enabled, j.steps, j.timeout, j.memory_limit,"      \
	" j.settings, j.keep_successes, j.keep_failures, j.keep_age,"                   \
	" j.database_oid, j.builtin, s.next_slot, s.last_ended_at, j.catch_up,"         \
	" j.catch_up_limit, j.start_deadline, j.overlap, j.retries, j.retry_delay,"     \
	" j.retry_delay_limit, j.queue, j.priority, j.nice"                             \
	" FROM aggjobs.job j JOIN aggjobs.job_state s USING (job_id)"

const char *const aj_catch_up_names[] = {"skip", "last", "all", NULL};
const char *const aj_overlap_names[] = {"skip", "queue", "replace", NULL};

/* Which of the names it is; the table lets no other in. */
static int
name_index(const char *const *names, const char *name)
{
	for (int i = 0; names[i] != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	elog(ERROR, "unexpected policy \"%s\"", name);
}

static void
read_policy(AjPolicy *policy, MemoryContext context)
{
	policy->catch_up =
		name_index(aj_catch_up_names, aj_spi_text(0, 20, context));
	policy->catch_up_limit = (int) aj_spi_int8(0, 21, 0);
	policy->start_deadline = aj_spi_interval(0, 22, context);
	policy->overlap = name_index(aj_overlap_names, aj_spi_text(0, 23, context));
	policy->retries = (int) aj_spi_int8(0, 24, -1);
	policy->retry_delay = aj_spi_interval(0, 25, context);
	policy->retry_delay_limit = aj_spi_interval(0, 26, context);
	policy->queue = aj_spi_text(0, 27, context);
	policy->priority = (int) aj_spi_int8(0, 28, 0);
	policy->nice = (int) aj_spi_int8(0, 29, 0);
}

static AjJob *
read_job(MemoryContext context)
{
	AjJob *job = MemoryContextAllocZero(context, sizeof(AjJob));

	job->job_id = aj_spi_int8(0, 1, 0);
	job->name = aj_spi_text(0, 2, context);
	job->description = aj_spi_text(0, 3, context);
	job->owner = aj_spi_oid(0, 4);
	job->owner_name = aj_spi_text(0, 5, context);
	job->schedule = aj_spi_text(0, 6, context);
	job->time_zone = aj_spi_text(0, 7, context);
	job->enabled = aj_spi_bool(0, 8);
	job->steps = aj_spi_jsonb(0, 9, context);
	job->timeout = aj_spi_interval(0, 10, context);
	job->memory_limit = aj_spi_int8(0, 11, 0);
	job->settings = aj_spi_jsonb(0, 12, context);
	job->keep_successes = (int) aj_spi_int8(0, 13, -1);
	job->keep_failures = (int) aj_spi_int8(0, 14, -1);
	job->keep_age = aj_spi_interval(0, 15, context);
	job->database_oid = aj_spi_oid(0, 16);
	job->builtin = aj_spi_bool(0, 17);
	job->next_slot = aj_spi_time(0, 18, AJ_NO_TIME);
	job->last_ended_at = aj_spi_time(0, 19, AJ_NO_TIME);
	read_policy(&job->policy, context);
	return job;
}

/*
 * aj_job_find
 *		The job of this name; if there is none, NULL or error 42704.
 */
AjJob *
aj_job_find(const char *name, bool missing_ok)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjJob *job = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run(JOB_COLUMNS " WHERE j.job_name = $1",
				   AJ_ARGS(aj_arg_text(name))) > 0)
		job = read_job(context);
	aj_spi_close(&spi);

	if (job == NULL && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("job \"%s\" does not exist", aj_clip(name)),
				 errhint(
					 "List the jobs with SELECT job_name FROM aggjobs.jobs.")));
	return job;
}

/* The job with this id, or NULL. */
AjJob *
aj_job_get(int64 job_id)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjJob *job = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run(JOB_COLUMNS " WHERE j.job_id = $1",
				   AJ_ARGS(aj_arg_int8(job_id))) > 0)
		job = read_job(context);
	aj_spi_close(&spi);
	return job;
}

/* May the current user change, run and cancel this job? */
bool
aj_job_may_act(const AjJob *job)
{
	return has_privs_of_role(GetUserId(), job->owner) &&
		aj_can_become(GetUserId(), job->owner);
}

/*
 * aj_job_find_mine
 *		The job of this name, if the current user may act on it.
 *
 * Errors: 42704 if there is none, 42501 if it is somebody else's.
 */
AjJob *
aj_job_find_mine(const char *name)
{
	AjJob *job = aj_job_find(name, false);

	if (!aj_job_may_act(job))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for job \"%s\"", job->name),
				 errdetail("The job belongs to role \"%s\".", job->owner_name),
				 errhint("Act as its owner, or as a member of that role.")));
	return job;
}

/*
 * aj_job_find_to_change
 *		The same, and nobody else changes it before the transaction ends: all
 *		of a job is written at once, so of two changes to what both had read
 *		the second would undo the first.
 */
AjJob *
aj_job_find_to_change(const char *name)
{
	/* Who may not change a job must not keep others from it. */
	(void) aj_job_find_mine(name);
	(void) aj_catalog_run("SELECT FROM aggjobs.job WHERE job_name = $1"
						  " FOR NO KEY UPDATE",
						  AJ_ARGS(aj_arg_text(name)));
	return aj_job_find_mine(name);
}

static AjArg
nullable_int4(int value)
{
	return aj_arg_int4_or_null(value, value < 0);
}

#define JOB_VALUES(job)                                                        \
	aj_arg_text((job)->name), aj_arg_text((job)->description),                 \
		aj_arg_oid((job)->owner), aj_arg_text((job)->owner_name),              \
		aj_arg_text((job)->schedule), aj_arg_text((job)->time_zone),           \
		aj_arg_bool((job)->enabled), aj_arg_jsonb((job)->steps),               \
		aj_arg_interval((job)->timeout),                                       \
		aj_arg(INT8OID, Int64GetDatum((job)->memory_limit),                    \
			   (job)->memory_limit == 0),                                      \
		aj_arg_jsonb((job)->settings), nullable_int4((job)->keep_successes),   \
		nullable_int4((job)->keep_failures), aj_arg_interval((job)->keep_age), \
		aj_arg_text(aj_catch_up_names[(job)->policy.catch_up]),                \
		aj_arg_int4((job)->policy.catch_up_limit),                             \
		aj_arg_interval((job)->policy.start_deadline),                         \
		aj_arg_text(aj_overlap_names[(job)->policy.overlap]),                  \
		nullable_int4((job)->policy.retries),                                  \
		aj_arg_interval((job)->policy.retry_delay),                            \
		aj_arg_interval((job)->policy.retry_delay_limit),                      \
		aj_arg_text((job)->policy.queue), aj_arg_int4((job)->policy.priority), \
		aj_arg_int4((job)->policy.nice)

/* Write a new job; error 42710 if the name is taken.  Returns its id. */
int64
aj_job_insert(const AjJob *job)
{
	AjSpi spi;
	int64 job_id;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("INSERT INTO aggjobs.job (job_name, description, owner,"
				   " owner_name, schedule, time_zone, enabled, steps, timeout,"
				   " memory_limit, settings, keep_successes, keep_failures,"
				   " keep_age, catch_up, catch_up_limit, start_deadline,"
				   " overlap, retries, retry_delay, retry_delay_limit, queue,"
				   " priority, nice, database_oid)"
				   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
				   " $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,"
				   " $23, $24, $25)"
				   " ON CONFLICT (job_name) DO NOTHING RETURNING job_id",
				   AJ_ARGS(JOB_VALUES(job), aj_arg_oid(MyDatabaseId))) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("job \"%s\" already exists", job->name),
				 errhint("Change it with aggjobs_alter_job('%s', ...).",
						 job->name)));
	job_id = aj_spi_int8(0, 1, 0);
	(void) aj_spi_run("INSERT INTO aggjobs.job_state (job_id, next_slot)"
					  " VALUES ($1, $2)",
					  AJ_ARGS(aj_arg_int8(job_id),
							  aj_arg_time(job->next_slot)));
	aj_spi_close(&spi);
	return job_id;
}

/* Write all of a job that exists; it belongs to this database from now on. */
void
aj_job_update(const AjJob *job)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run("UPDATE aggjobs.job SET job_name = $1, description = $2,"
					  " owner = $3, owner_name = $4, schedule = $5,"
					  " time_zone = $6, enabled = $7, steps = $8, timeout = $9,"
					  " memory_limit = $10, settings = $11,"
					  " keep_successes = $12, keep_failures = $13,"
					  " keep_age = $14, catch_up = $15, catch_up_limit = $16,"
					  " start_deadline = $17, overlap = $18, retries = $19,"
					  " retry_delay = $20, retry_delay_limit = $21,"
					  " queue = $22, priority = $23, nice = $24,"
					  " database_oid = $25,"
					  " changed_by = session_user, changed_at = now()"
					  " WHERE job_id = $26",
					  AJ_ARGS(JOB_VALUES(job), aj_arg_oid(MyDatabaseId),
							  aj_arg_int8(job->job_id)));
	(void) aj_spi_run("UPDATE aggjobs.job_state SET next_slot = $2"
					  " WHERE job_id = $1 AND next_slot IS DISTINCT FROM $2",
					  AJ_ARGS(aj_arg_int8(job->job_id),
							  aj_arg_time(job->next_slot)));
	aj_spi_close(&spi);
}

/* Is a job nothing but the refresh of this rollup? */
static bool
only_refreshes(const AjJob *job, const char *rollup)
{
	Jsonb *step;
	char *kind;
	char *refreshed;

	if (aj_json_length(job->steps) != 1)
		return false;
	step = aj_json_element(job->steps, 0);
	kind = aj_json_text_field(step, "kind");
	refreshed = aj_json_text_field(step, "rollup");
	return kind != NULL && refreshed != NULL && strcmp(kind, "rollup") == 0 &&
		strcmp(refreshed, rollup) == 0;
}

/*
 * aj_job_delete
 *		Cancel the queued runs of a job and remove it; its history stays until
 *		its age removes it.  In this order, as whoever ends a run locks the
 *		run first and then the state of the job.
 */
void
aj_job_delete(int64 job_id)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run("UPDATE aggjobs.run SET status = 'cancelled',"
					  " ended_at = $2, note = 'job was dropped'"
					  " WHERE job_id = $1 AND status = 'queued'",
					  AJ_ARGS(aj_arg_int8(job_id), aj_arg_time(aj_now())));
	(void) aj_spi_run("DELETE FROM aggjobs.job WHERE job_id = $1",
					  AJ_ARGS(aj_arg_int8(job_id)));
	aj_spi_close(&spi);
}

/*
 * aj_job_delete_of_rollup
 *		Remove the job of a user that has the name of a rollup and does
 *		nothing but refresh it; queued runs are cancelled.  Unless "anybodys",
 *		only if the current user may.
 */
void
aj_job_delete_of_rollup(const char *rollup, bool anybodys)
{
	AjJob *job = aj_job_find(rollup, true);

	if (job == NULL || job->builtin || !only_refreshes(job, rollup) ||
		(!anybodys && !aj_job_may_act(job)))
		return;
	aj_job_delete(job->job_id);
	aj_wake_job(job->job_id);
}

/*
 * The names of all jobs, or of those the current user may act on, sorted; the
 * workers of backfills are none of them.
 */
char **
aj_job_names(int *n, bool only_mine)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	Oid user = GetUserId();
	uint64 rows;
	char **names;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	rows = aj_spi_run("SELECT job_name, owner::oid FROM aggjobs.job"
					  " WHERE backfill_id IS NULL ORDER BY 1",
					  AJ_NO_ARGS);
	names = MemoryContextAlloc(context, sizeof(char *) * (Size) Max(rows, 1));
	*n = 0;
	for (uint64 i = 0; i < rows; i++)
		if (!only_mine || has_privs_of_role(user, aj_spi_oid(i, 2)))
			names[(*n)++] = aj_spi_text(i, 1, context);
	aj_spi_close(&spi);
	return names;
}

/* An int8[] of these ids, or NULL's argument for none. */
static AjArg
arg_int8_array(const int64 *values, int n)
{
	Datum *datums;

	if (values == NULL)
		return aj_arg(INT8ARRAYOID, (Datum) 0, true);
	datums = palloc(sizeof(Datum) * (Size) Max(n, 1));
	for (int i = 0; i < n; i++)
		datums[i] = Int64GetDatum(values[i]);
	return aj_arg(INT8ARRAYOID,
				  PointerGetDatum(
					  construct_array(datums, n, INT8OID, sizeof(int64),
									  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
				  false);
}

/*
 * aj_job_plans
 *		The plans of enabled jobs that have a schedule: of these jobs, or of
 *		all if "job_ids" is NULL.  The result lives in "context".
 */
AjJobPlan *
aj_job_plans(const int64 *job_ids, int njobs, int *n, MemoryContext context)
{
	AjSpi spi;
	AjJobPlan *plans;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run(
		"SELECT j.job_id, j.schedule, j.time_zone, s.next_slot,"
		" greatest(s.last_slot, j.changed_at), s.last_ended_at,"
		" s.next_slot IS NULL AND EXISTS (SELECT FROM aggjobs.run r"
		" WHERE r.job_id = j.job_id"
		" AND r.status IN ('queued', 'running')),"
		/* One that can't be taken from now would stop the clock of all jobs. */
		" j.catch_up, j.catch_up_limit,"
		" CASE WHEN j.start_deadline >= interval '0'"
		" THEN least(j.start_deadline, interval '1000 years') END"
		" FROM aggjobs.job j JOIN aggjobs.job_state s USING (job_id)"
		" WHERE j.enabled AND j.schedule IS NOT NULL"
		" AND j.database_oid = $2"
		" AND ($1 IS NULL OR j.job_id = ANY ($1))",
		AJ_ARGS(arg_int8_array(job_ids, njobs), aj_arg_oid(MyDatabaseId)));
	plans =
		MemoryContextAllocHuge(context, sizeof(AjJobPlan) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		plans[i].job_id = aj_spi_int8((uint64) i, 1, 0);
		plans[i].schedule = aj_spi_text((uint64) i, 2, context);
		plans[i].time_zone = aj_spi_text((uint64) i, 3, context);
		plans[i].next_slot = aj_spi_time((uint64) i, 4, AJ_NO_TIME);
		plans[i].known_since = aj_spi_time((uint64) i, 5, AJ_NO_TIME);
		plans[i].last_ended_at = aj_spi_time((uint64) i, 6, AJ_NO_TIME);
		plans[i].running = aj_spi_bool((uint64) i, 7);
		plans[i].catch_up =
			name_index(aj_catch_up_names, aj_spi_text((uint64) i, 8, context));
		plans[i].catch_up_limit = (int) aj_spi_int8((uint64) i, 9, 0);
		plans[i].start_deadline = aj_spi_interval((uint64) i, 10, context);
	}
	aj_spi_close(&spi);
	return plans;
}

/* Plan the next slot of a job that is being changed; AJ_NO_TIME for none. */
void
aj_job_set_next_slot(int64 job_id, TimestampTz next_slot)
{
	(void) aj_catalog_run("UPDATE aggjobs.job_state SET next_slot = $2"
						  " WHERE job_id = $1",
						  AJ_ARGS(aj_arg_int8(job_id), aj_arg_time(next_slot)));
}

/*
 * aj_job_replan
 *		Scheduler: plan the slot "to" in place of "from"; AJ_NO_TIME stands for
 *		none.  False if the job has another slot planned by now, is off, or is
 *		being changed by a transaction that is still open; who changes a job
 *		plans it as well, and nobody can stop the clock by waiting.
 */
bool
aj_job_replan(int64 job_id, TimestampTz from, TimestampTz to)
{
	return aj_catalog_run("UPDATE aggjobs.job_state SET next_slot = $3"
						  " WHERE job_id IN (SELECT s.job_id"
						  " FROM aggjobs.job_state s"
						  " JOIN aggjobs.job j USING (job_id)"
						  " WHERE s.job_id = $1"
						  " AND s.next_slot IS NOT DISTINCT FROM $2"
						  " AND j.enabled AND j.schedule IS NOT NULL"
						  " FOR NO KEY UPDATE OF s SKIP LOCKED)",
						  AJ_ARGS(aj_arg_int8(job_id), aj_arg_time(from),
								  aj_arg_time(to))) > 0;
}

/*
 * aj_job_owner_problem
 *		Why runs of this owner must not start: a sentence, or NULL if they
 *		may.  Asked before every run, because roles change behind our back.
 */
const char *
aj_job_owner_problem(Oid owner, const char *owner_name, Oid database_oid)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(owner));
	Form_pg_authid role;
	const char *problem = NULL;

	if (!HeapTupleIsValid(tuple))
		return psprintf("role \"%s\", the owner of the job, does not exist",
						owner_name);
	role = (Form_pg_authid) GETSTRUCT(tuple);
	if (strcmp(NameStr(role->rolname), owner_name) != 0)
		problem = psprintf(
			"the owner of the job was role \"%s\" and is now called \"%s\"",
			owner_name, NameStr(role->rolname));
	else if (!role->rolcanlogin)
		problem = psprintf(
			"role \"%s\", the owner of the job, is not allowed to log in",
			owner_name);
	else if (role->rolsuper && !aj_allow_superuser_jobs)
		problem = psprintf(
			"role \"%s\", the owner of the job, is a superuser, and aggjobs.allow_superuser_jobs is off",
			owner_name);
	ReleaseSysCache(tuple);
	if (problem == NULL &&
		aj_database_aclcheck(database_oid, owner, ACL_CONNECT) != ACLCHECK_OK)
		problem = psprintf(
			"role \"%s\", the owner of the job, may not connect to the database",
			owner_name);
	return problem;
}
