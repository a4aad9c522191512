/*-------------------------------------------------------------------------
 *
 * session_run.c
 *	  Run a job in the session that CALLs it.
 *
 * Works without background workers, and shows what happens as it happens.
 * The caller must be the owner: what the job runs must never run with the
 * rights of somebody else.
 *
 * Where the CALL may commit, the run is committed as running before it starts
 * and after each step, and a failed run is in the history although the CALL
 * ends with the error.  Inside a transaction block all of it is part of that
 * block.  Each step runs in a subtransaction.
 *
 * State: whether a run goes on, so that the end of the session can tell the
 * scheduler about it.  While a run that others see goes on, the session holds a
 * lock that says so (aj_run_hold).  Memory: that of the CALL.
 *
 * Failure: where the end of a run can't be stored either, because of another
 * cancel or a lock, the scheduler ends it.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/session_run.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/clock.h"
#include "base/spi.h"
#include "base/usage.h"
#include "catalog/run.h"
#include "miscadmin.h"
#include "run/execute.h"
#include "run/job_settings.h"
#include "run/limits.h"
#include "shmem/databases.h"
#include "shmem/wake.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/resowner.h"

typedef struct SessionRun
{
	AjStepHost host;
	AjJob *job;
	AjUsageStart usage;
	bool may_commit;
	bool is_stored; /* the end of the run, as committed */
} SessionRun;

static bool in_run = false;

/*
 * A session that is at its end, or could not store the end of a run, leaves one
 * that the table calls running: the scheduler ends it.
 */
static void
leave_run(void)
{
	aj_run_leave();
	if (aj_segment_present())
		aj_databases_post(MyDatabaseId, AJ_WAKE_ORPHANS, 0);
}

static void
at_exit(int code, Datum argument)
{
	if (in_run)
		leave_run();
}

static void
begin_run(void)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(at_exit, (Datum) 0);
	registered = true;
	in_run = true;
}

/* A run has one time limit, one memory limit and one log. */
static void
check_not_nested(void)
{
	if (in_run || aj_worker_is_running())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a job can't be run inside the run of another"),
				 errhint("Use SELECT aggjobs_trigger(name), or make its "
						 "steps part of the job.")));
}

static void
commit_if_allowed(const SessionRun *s)
{
	if (s->may_commit)
		aj_spi_commit();
	MemoryContextSwitchTo(s->host.context);
}

static void
check_caller(const AjJob *job)
{
	int64 running;
	const char *problem;

	if (!aj_execute_may_here(job))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg(
				 "job \"%s\" can be run in a session only by its owner, role \"%s\"",
				 job->name, job->owner_name),
			 errhint(
				 "SELECT aggjobs_trigger('%s') runs it as its owner in a background worker.",
				 job->name)));
	problem = aj_job_owner_problem(job->owner, job->owner_name, MyDatabaseId);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("job \"%s\" may not run", job->name),
				 errdetail("%s.", problem)));
	aj_runs_crash_orphans(job->job_id);
	running = aj_run_of_job(job->job_id);
	if (running != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("job \"%s\" is running already", job->name),
			 errdetail("It is run " INT64_FORMAT ".", running),
			 errhint("Wait for it with SELECT aggjobs_wait(" INT64_FORMAT
					 "), or cancel it with SELECT aggjobs_cancel(" INT64_FORMAT
					 ").",
					 running, running)));
}

static void
finish(SessionRun *s, AjRunEnd *end)
{
	aj_usage_since(&s->usage, &end->usage);
	end->rows_written = s->host.rows_written;
	if (aj_run_finish(s->host.run_id, end))
		aj_wake_job_ran(s->host.job_id); /* may count its next slot from here */
}

/* Run a step in the subtransaction that is open. */
static Jsonb *
run_limited(SessionRun *s, const Jsonb *step)
{
	int level = NewGUCNestLevel();
	Jsonb *result;

	aj_job_settings_apply(s->job->settings, GUC_ACTION_SAVE);
	if (s->job->memory_limit > 0)
		aj_memory_limit_set(s->job->memory_limit);
	result = aj_execute_step(step, &s->host);
	aj_memory_limit_clear();
	AtEOXact_GUC(true, level);
	return result;
}

static void
record_error(SessionRun *s, const ErrorData *error)
{
	AjRunEnd end = {
		.status = "failed",
		.error = error->message,
		.sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode)),
		.detail = error->detail,
		.hint = error->hint,
		.context = error->context,
	};

	if (aj_time_limit_passed())
		end.status = "timed_out";
	else if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		end.status = "cancelled";
	finish(s, &end);
}

/* Store an error, so that it is in the history, and raise it again. */
static void
fail(SessionRun *s, ErrorData *error)
{
	record_error(s, error);
	commit_if_allowed(s);
	s->is_stored = true;
	ReThrowError(error);
}

/*
 * Commit what a step did.  That can fail, too, on a deferred constraint for
 * one; the server has begun another transaction then.
 */
static void
commit_step(SessionRun *s)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		commit_if_allowed(s);
	}
	PG_CATCH();
	{
		aj_time_limit_stop();
		MemoryContextSwitchTo(s->host.context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (error != NULL)
		fail(s, error);
}

/* The result of a step, and the end of the run with that of the last. */
static void
store_result(SessionRun *s, const Jsonb *result, bool is_last)
{
	AjRunEnd end = {.status = "succeeded"};

	aj_run_add_step(s->host.run_id, result);
	if (!is_last)
		return;
	aj_time_limit_stop();
	finish(s, &end);
}

/*
 * Run step i of n and tell of it; an error is stored and raised again, also a
 * cancel while the client takes the NOTICE.
 */
static void
run_step(SessionRun *s, int i, int n)
{
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		Jsonb *result = run_limited(s, aj_json_element(s->job->steps, i));

		store_result(s, result, i == n - 1);
		ereport(NOTICE,
				(errmsg("step %d of %d: %s", i + 1, n,
						aj_json_as_text(result))));
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		aj_memory_limit_clear();
		aj_time_limit_stop();
		MemoryContextSwitchTo(s->host.context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(s->host.context);
	CurrentResourceOwner = owner;
	if (error != NULL)
		fail(s, error);
}

static void
start(SessionRun *s)
{
	AjJob *job = s->job;

	s->host.run_id = aj_run_insert(job->job_id, job->name, job->owner,
								   s->host.at, 1, "manual");
	if (!aj_run_mark_running(s->host.run_id, MyProcPid, MyStartTimestamp,
							 false))
		elog(ERROR, "could not start run " INT64_FORMAT, s->host.run_id);
	if (s->may_commit)
		aj_run_hold(s->host.run_id);
	commit_if_allowed(s);
	aj_usage_start(&s->usage);
	aj_time_limit_start(aj_execute_deadline(job, s->host.now));
}

static void
run_steps(SessionRun *s)
{
	int n = aj_json_length(s->job->steps);

	start(s);
	for (int i = 0; i < n; i++)
	{
		run_step(s, i, n);
		commit_step(s);
	}
	s->is_stored = true;
	if (s->may_commit)
		aj_run_let_go(s->host.run_id);
}

/*
 * aj_execute_in_session
 *		Run a job here and now, with a NOTICE for each step.
 *
 * Errors: 42501 if the caller is not the owner, 55006 if the job is running,
 * 55000 inside another run, and whatever a step raises.
 */
void
aj_execute_in_session(AjJob *job, TimestampTz at, bool may_commit)
{
	SessionRun s = {.job = job, .may_commit = may_commit};

	check_not_nested();
	check_caller(job);
	s.host.job_id = job->job_id;
	s.host.at = at;
	s.host.now = aj_now();
	s.host.context = CurrentMemoryContext;
	begin_run();
	PG_TRY();
	{
		run_steps(&s);
	}
	PG_FINALLY();
	{
		aj_time_limit_stop();
		if (aj_time_limit_passed())
			QueryCancelPending = false;
		in_run = false;
		if (may_commit && !s.is_stored)
			leave_run();
	}
	PG_END_TRY();
}
