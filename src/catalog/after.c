/*-------------------------------------------------------------------------
 *
 * after.c
 *	  aggjobs.job_after: which jobs run after the success of which others.
 *
 * A job with several predecessors is queued once each of them has succeeded
 * since it was last queued by them.  Its rows remember which have; the
 * transaction that stores the success of the last one queues the run, so
 * there is no success without it and no run without all of them.
 *
 * State: the table alone.  Who changes the order takes SHARE UPDATE EXCLUSIVE
 * on the table, which only others who change the order wait for, so that two
 * cannot close a circle together.  Who stores a success locks the rows of the
 * jobs that may follow, in order, so that of two successes the second sees the
 * first.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/after.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/after.h"
#include "catalog/pg_authid_d.h"
#include "miscadmin.h"
#include "shmem/wake.h"
#include "utils/acl.h"
#include "utils/array.h"

#define MOST_PREDECESSORS 100

/* The job to run after: one that the caller may act on, or may watch. */
static AjJob *
find_predecessor(const AjJob *job, const char *name)
{
	AjJob *other = aj_job_find(name, false);

	if (!aj_job_may_act(other) &&
		!has_privs_of_role(GetUserId(), ROLE_PG_MONITOR))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to run job \"%s\" after job \"%s\"",
						job->name, other->name),
				 errdetail("Job \"%s\" belongs to role \"%s\".", other->name,
						   other->owner_name),
				 errhint("Be a member of that role, or of pg_monitor.")));
	return other;
}

/* Error 22023 if the job would run after itself, with the way round. */
static void
refuse_circle(const AjJob *job)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *way = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_read_latest(
			"WITH RECURSIVE up (job_id, way) AS ("
			" SELECT a.after_job_id, ARRAY[a.after_job_id]"
			" FROM aggjobs.job_after a WHERE a.job_id = $1"
			" UNION ALL"
			" SELECT a.after_job_id, u.way || a.after_job_id"
			" FROM up u JOIN aggjobs.job_after a USING (job_id)"
			" WHERE u.job_id <> $1 AND NOT a.after_job_id = ANY (u.way))"
			" SELECT (SELECT string_agg(format('\"%s\"', j.job_name), ' after '"
			" ORDER BY w.n) FROM unnest(u.way) WITH ORDINALITY w (job_id, n)"
			" JOIN aggjobs.job j USING (job_id))"
			" FROM up u WHERE u.job_id = $1 LIMIT 1",
			AJ_ARGS(aj_arg_int8(job->job_id))) > 0)
		way = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	if (way != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("job \"%s\" can't run after itself", job->name),
				 errdetail("\"%s\" after %s.", job->name, way),
				 errhint("Take one of them out of \"after\".")));
}

/* No others than these go before a job any more. */
static void
forget_others(const AjJob *job, Datum *ids, int n)
{
	ArrayType *array = construct_array(ids, n, INT8OID, sizeof(int64),
									   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);

	(void) aj_catalog_run("DELETE FROM aggjobs.job_after a WHERE a.job_id = $1"
						  " AND NOT a.after_job_id = ANY ($2)",
						  AJ_ARGS(aj_arg_int8(job->job_id),
								  aj_arg(INT8ARRAYOID, PointerGetDatum(array),
										 false)));
}

/*
 * aj_after_set
 *		Let a job that is in the table run after the success of these, and of
 *		no others.  What has succeeded of those that it ran after already stays
 *		noted: who declares the same once more must not lose a run.
 *
 * Errors: 42704 for a job that does not exist, 42501 for one that the caller
 * may not watch, 22023 for a circle or too many.
 */
void
aj_after_set(const AjJob *job, List *names)
{
	ListCell *cell;
	Datum ids[MOST_PREDECESSORS];
	int n = 0;

	if (list_length(names) > MOST_PREDECESSORS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("job \"%s\" can't run after %d jobs", job->name,
						list_length(names)),
				 errhint("At most %d are allowed.", MOST_PREDECESSORS)));
	(void) aj_catalog_run("LOCK TABLE aggjobs.job_after"
						  " IN SHARE UPDATE EXCLUSIVE MODE",
						  AJ_NO_ARGS);
	foreach (cell, names)
	{
		int64 other = find_predecessor(job, lfirst(cell))->job_id;

		(void) aj_catalog_run(
			"INSERT INTO aggjobs.job_after (job_id, after_job_id)"
			" VALUES ($1, $2) ON CONFLICT DO NOTHING",
			AJ_ARGS(aj_arg_int8(job->job_id), aj_arg_int8(other)));
		ids[n++] = Int64GetDatum(other);
	}
	forget_others(job, ids, n);
	refuse_circle(job);
}

/* The names of the jobs after which a job runs, sorted. */
List *
aj_after_names(int64 job_id)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	List *names = NIL;
	uint64 n;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	n = aj_spi_run("SELECT j.job_name FROM aggjobs.job_after a"
				   " JOIN aggjobs.job j ON j.job_id = a.after_job_id"
				   " WHERE a.job_id = $1 ORDER BY j.job_name",
				   AJ_ARGS(aj_arg_int8(job_id)));
	for (uint64 i = 0; i < n; i++)
	{
		char *name = aj_spi_text(i, 1, context);
		MemoryContext saved = MemoryContextSwitchTo(context);

		names = lappend(names, name);
		MemoryContextSwitchTo(saved);
	}
	aj_spi_close(&spi);
	return names;
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* These names in one text, sorted; "none" if there are none. */
char *
aj_after_text(List *names)
{
	StringInfoData text;
	ListCell *cell;

	if (names == NIL)
		return pstrdup("none");
	names = list_copy(names);
	list_sort(names, compare_names);
	initStringInfo(&text);
	foreach (cell, names)
		appendStringInfo(&text, "%s%s", text.len == 0 ? "" : ", ",
						 (char *) lfirst(cell));
	return text.data;
}

/*
 * aj_after_succeeded
 *		A run has succeeded, in this transaction: note it, and queue the jobs
 *		of which all predecessors have.  Returns how many were queued.
 *
 * A job that waits in the queue for its turn already is not queued again: its
 * run will see what this one did.  "at" goes on from run to run.
 */
int
aj_after_succeeded(int64 run_id)
{
	AjSpi spi;
	int queued = 0;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT FROM aggjobs.job_after a WHERE a.job_id IN"
				   " (SELECT d.job_id FROM aggjobs.job_after d"
				   " JOIN aggjobs.run r ON r.job_id = d.after_job_id"
				   " WHERE r.run_id = $1)"
				   " ORDER BY a.job_id, a.after_job_id FOR NO KEY UPDATE",
				   AJ_ARGS(aj_arg_int8(run_id))) > 0)
	{
		(void) aj_spi_run("UPDATE aggjobs.job_after a SET run_id = r.run_id"
						  " FROM aggjobs.run r"
						  " WHERE r.run_id = $1 AND a.after_job_id = r.job_id",
						  AJ_ARGS(aj_arg_int8(run_id)));
		queued = (int) aj_spi_run(
			"WITH complete AS (SELECT a.job_id FROM aggjobs.job_after a"
			" WHERE a.job_id IN (SELECT d.job_id FROM aggjobs.job_after d"
			" WHERE d.run_id = $1)"
			" GROUP BY a.job_id HAVING bool_and(a.run_id IS NOT NULL)),"
			" ready AS (SELECT j.job_id, j.job_name, j.owner"
			" FROM complete JOIN aggjobs.job j USING (job_id)"
			" WHERE j.enabled AND j.database_oid = $2),"
			" used AS (UPDATE aggjobs.job_after a SET run_id = NULL"
			" FROM ready d WHERE a.job_id = d.job_id)"
			" INSERT INTO aggjobs.run (job_id, job_name, owner, at, status,"
			" trigger, triggered_by, queued_at)"
			" SELECT d.job_id, d.job_name, d.owner, r.at, 'queued',"
			" 'dependency', r.triggered_by, $3"
			" FROM ready d, aggjobs.run r WHERE r.run_id = $1"
			" AND NOT EXISTS (SELECT FROM aggjobs.run q"
			" WHERE q.job_id = d.job_id AND q.status = 'queued'"
			" AND q.trigger = 'dependency')",
			AJ_ARGS(aj_arg_int8(run_id), aj_arg_oid(MyDatabaseId),
					aj_arg_time(aj_now())));
	}
	aj_spi_close(&spi);
	if (queued > 0)
		aj_wake_runs();
	return queued;
}
