/*-------------------------------------------------------------------------
 *
 * run_api.c
 *	  SQL functions that start, await and stop runs.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/run_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "api/job_spec.h"
#include "base/clock.h"
#include "base/spi.h"
#include "catalog/run.h"
#include "miscadmin.h"
#include "run/execute.h"
#include "shmem/databases.h"
#include "shmem/slots.h"
#include "shmem/wake.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#define LOOK_AGAIN_MS 1000

PG_FUNCTION_INFO_V1(aggjobs_trigger);
PG_FUNCTION_INFO_V1(aggjobs_run);
PG_FUNCTION_INFO_V1(aggjobs_wait);
PG_FUNCTION_INFO_V1(aggjobs_cancel);
PG_FUNCTION_INFO_V1(aggjobs_retry);

/* The job named by the first argument, if the caller may act on it. */
static AjJob *
job_argument(FunctionCallInfo fcinfo)
{
	char *name = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));

	aj_job_name_check(name);
	return aj_job_find_mine(name);
}

static TimestampTz
at_argument(FunctionCallInfo fcinfo)
{
	TimestampTz at;

	if (PG_ARGISNULL(1))
		return AJ_NO_TIME;
	at = PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"at\" must be a finite instant"),
			 errhint(
				 "Give any instant in the hour or day to compute, or leave it out for what is due.")));
	return at;
}

static bool
dry_run_argument(FunctionCallInfo fcinfo)
{
	return !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
}

/*
 * aggjobs_trigger(name, at, dry_run) -> run id
 *		Queue a run of a job; it starts when this transaction commits.
 *
 * "at" is any instant in the hour, day, ... that rollup steps are to compute;
 * NULL computes what is due.  With dry_run, NOTICEs tell what would be done,
 * nothing is, and the result is NULL.
 *
 * Errors: 42704, 42501, and 55000 where the library is not preloaded.
 */
Datum
aggjobs_trigger(PG_FUNCTION_ARGS)
{
	AjJob *job = job_argument(fcinfo);
	TimestampTz at = at_argument(fcinfo);
	int64 run_id;

	if (dry_run_argument(fcinfo))
	{
		aj_execute_plan(job, at);
		PG_RETURN_NULL();
	}
	aj_require_primary(fcinfo);
	aj_segment_require("aggjobs_trigger()");
	run_id = aj_run_insert(job->job_id, job->name, job->owner, at, 1, "manual");
	aj_wake_runs();
	PG_RETURN_INT64(run_id);
}

/*
 * CALL aggjobs_run(name, at, dry_run)
 *		Run a job here and now, in this session.  Commits after each step
 *		unless called inside a transaction block.
 */
Datum
aggjobs_run(PG_FUNCTION_ARGS)
{
	bool may_commit = aj_spi_is_nonatomic(fcinfo);
	AjJob *job;
	TimestampTz at;

	if (!dry_run_argument(fcinfo))
		aj_require_primary(fcinfo);
	if (may_commit)
		aj_spi_open_nonatomic();
	job = job_argument(fcinfo);
	at = at_argument(fcinfo);
	if (dry_run_argument(fcinfo))
		aj_execute_plan(job, at);
	else
		aj_execute_in_session(job, at, may_commit);
	if (may_commit)
		aj_spi_close_nonatomic();
	PG_RETURN_VOID();
}

/* The run with this id, if the caller may act on its job. */
static AjRun *
run_argument(FunctionCallInfo fcinfo)
{
	AjRun *run;
	int64 run_id;

	if (PG_ARGISNULL(0))
		ereport(
			ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("the id of a run must not be NULL"),
			 errhint(
				 "aggjobs_trigger() returns it; aggjobs.runs lists them.")));
	run_id = PG_GETARG_INT64(0);
	run = aj_run_find(run_id);
	if (run == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("run " INT64_FORMAT " does not exist", run_id),
			 errhint(
				 "List the runs with SELECT run_id, job_name, status FROM aggjobs.runs.")));
	if (!has_privs_of_role(GetUserId(), run->owner))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for run " INT64_FORMAT, run_id),
			 errhint(
				 "Act as the owner of job \"%s\", or as a member of that role.",
				 run->job_name)));
	return run;
}

static bool
is_over(const char *status)
{
	return status == NULL ||
		(strcmp(status, "queued") != 0 && strcmp(status, "running") != 0);
}

static TimestampTz
wait_limit(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		return DT_NOEND;
	return DatumGetTimestampTz(
		DirectFunctionCall2(timestamptz_pl_interval,
							TimestampTzGetDatum(aj_now()), PG_GETARG_DATUM(1)));
}

/* Sleep until some run has ended, or look again after a second anyway. */
static void
sleep_a_little(TimestampTz until)
{
	long rest = aj_milliseconds_until(until);

	(void) ConditionVariableTimedSleep(&aj_segment()->run_ended,
									   Min(rest, LOOK_AGAIN_MS),
									   aj_wait_event("AggjobsWait"));
}

/*
 * aggjobs_wait(run_id, timeout) -> status
 *		Wait for the end of a run and return its status; when the timeout
 *		comes first, the status that it has then.  A NULL timeout waits for
 *		as long as it takes.
 *
 * Errors: 55000 if the run was queued by this very transaction, so that it
 * can't start before the wait is over.
 */
Datum
aggjobs_wait(PG_FUNCTION_ARGS)
{
	TimestampTz until = wait_limit(fcinfo);
	AjRun *run;
	char *status;

	aj_segment_require("aggjobs_wait()");
	PushActiveSnapshot(GetLatestSnapshot());
	run = run_argument(fcinfo);
	PopActiveSnapshot();
	if (run->uncommitted && !is_over(run->status))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "run " INT64_FORMAT
				 " was queued by this transaction and starts when it commits",
				 run->run_id),
			 errhint("COMMIT first, then wait.")));

	ConditionVariablePrepareToSleep(&aj_segment()->run_ended);
	while (!is_over(status = aj_run_status_latest(run->run_id)) &&
		   aj_now() < until)
		sleep_a_little(until);
	ConditionVariableCancelSleep();
	if (status == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(status));
}

static bool
cancel_queued(int64 run_id, const char *note)
{
	AjRunEnd end = {
		.status = "cancelled",
		.only_queued = true,
		.note = note,
	};

	return aj_run_finish(run_id, &end);
}

/* Has a worker begun with this run?  Then it stores how the run ends. */
static bool
worker_has(int64 run_id)
{
	AjSlotView *slots =
		palloc(sizeof(AjSlotView) * (Size) aj_segment()->nslots);
	int n = aj_slots_look(MyDatabaseId, slots);
	bool has = false;

	for (int i = 0; i < n; i++)
		has |= slots[i].run_id == run_id && slots[i].state == AJ_SLOT_RUNNING &&
			!slots[i].run_recorded;
	pfree(slots);
	return has;
}

/*
 * aggjobs_cancel(run_id) -> was there anything to cancel?
 *		A queued run will not start.  A running one is asked to stop at once,
 *		also if this transaction is rolled back; its worker is ended when it
 *		has not stopped after aggjobs.cancel_grace.
 *
 * What a worker has begun is left to it, also while the table says queued: it
 * may hold the row and wait for a session that runs the job and has yet to
 * commit, for which we would wait, too.
 */
Datum
aggjobs_cancel(PG_FUNCTION_ARGS)
{
	AjRun *run = run_argument(fcinfo);
	char *note = psprintf("cancelled by %s",
						  GetUserNameFromId(GetSessionUserId(), false));
	bool stopped = false;

	aj_require_primary(fcinfo);
	if (is_over(run->status))
		PG_RETURN_BOOL(false);
	if (aj_segment_present())
		stopped =
			aj_slots_stop_run(MyDatabaseId, run->run_id, AJ_STOP_CANCEL, note);
	if (!(stopped && worker_has(run->run_id)) &&
		cancel_queued(run->run_id, note))
	{
		stopped = true;
		aj_wake_job(run->job_id); /* may count its next slot from here */
	}
	if (!stopped)
		stopped = aj_run_cancel_session(run->run_id);
	PG_RETURN_BOOL(stopped);
}

/*
 * aggjobs_retry(run_id) -> run id
 *		Queue another attempt at a run that has ended: same job as it is now,
 *		same slot, same instant.  It goes on with the step that failed, unless
 *		the steps have been changed.
 *
 * Errors: 55000 if the run is not over, 42704 if its job was dropped.
 */
Datum
aggjobs_retry(PG_FUNCTION_ARGS)
{
	AjRun *run = run_argument(fcinfo);
	AjJob *job = aj_job_get(run->job_id);
	int64 run_id;

	aj_require_primary(fcinfo);
	if (!is_over(run->status))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " is %s and can't be retried yet",
						run->run_id, run->status),
				 errhint("Wait for it with SELECT aggjobs_wait(" INT64_FORMAT
						 ").",
						 run->run_id)));
	if (job == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("job \"%s\" of run " INT64_FORMAT " was dropped",
						run->job_name, run->run_id)));
	if (!aj_job_may_act(job))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for job \"%s\"", job->name),
				 errdetail("The job belongs to role \"%s\" by now.",
						   job->owner_name)));
	aj_segment_require("aggjobs_retry()");
	run_id = aj_run_retry(run);
	aj_wake_runs();
	PG_RETURN_INT64(run_id);
}
