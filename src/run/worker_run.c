/*-------------------------------------------------------------------------
 *
 * worker_run.c
 *	  Run a job in a worker, from its "running" to its final status.
 *
 * The row is committed as running before the first step.  Each step has a
 * transaction of its own, which stores its result as well; that of the last
 * step also stores the end of the run, so effects, result and status appear
 * together.  An error is caught here and nowhere else: what is open is rolled
 * back, the error goes to the server's log and then into the row.
 *
 * If even that can't be written, the error leaves this file, the process
 * ends, and the scheduler gives the run its status.
 *
 * State: whether a run goes on; none between runs.  Memory: the context "pg_aggjobs run", deleted at
 * the end.  No lock is held across a step but those that the step takes.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/worker_run.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <sys/resource.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/spi.h"
#include "base/tx.h"
#include "base/usage.h"
#include "catalog/run.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "run/execute.h"
#include "run/job_settings.h"
#include "run/limits.h"
#include "run/log_capture.h"
#include "shmem/slots.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"

typedef struct WorkerRun
{
	int slot_index;
	AjStepHost host;
	AjJob *job;
	int first_step;		  /* those before are done by earlier attempts */
	TimestampTz deadline; /* DT_NOEND without time limit */
	AjUsageStart usage;
} WorkerRun;

/* Read and written by a handler. */
static volatile sig_atomic_t running = false;
static volatile sig_atomic_t shutting_down = false;

static void
begin(const WorkerRun *w, const char *activity)
{
	aj_tx_begin(activity);
	MemoryContextSwitchTo(w->host.context);
}

static void
commit_and_begin(void *arg)
{
	AjStepHost *host = arg;

	aj_tx_commit();
	aj_tx_begin("refresh");
	MemoryContextSwitchTo(host->context);
}

static void
finish(WorkerRun *w, AjRunEnd *end)
{
	aj_usage_since(&w->usage, &end->usage);
	end->rows_written = w->host.rows_written;
	end->log_lines = aj_log_capture_lines();
	end->log_dropped = aj_log_capture_dropped();
	(void) aj_run_finish(w->host.run_id, end);

	/* Last, as the scheduler may be waiting for the same lines. */
	aj_log_capture_store();
}

/* Why the run can't be started, or NULL; then it has been marked running. */
static bool
start(WorkerRun *w, const AjRun *run, AjRunEnd *end)
{
	const char *problem;

	w->job = aj_job_get(run->job_id);
	if (w->job == NULL)
	{
		end->status = "cancelled";
		end->note = "job was dropped";
		return false;
	}
	problem =
		aj_job_owner_problem(w->job->owner, w->job->owner_name, MyDatabaseId);
	if (problem == NULL && w->job->owner != GetUserId())
		problem = "the job has got another owner since the run was queued";
	if (problem != NULL)
	{
		end->status = "failed";
		end->error = problem;
		end->sqlstate = "42501";
		return false;
	}
	w->first_step = run->steps_done;
	if (aj_run_mark_running(run->run_id, MyProcPid, MyStartTimestamp, true))
		return true;
	aj_runs_crash_orphans(run->job_id);
	if (aj_run_mark_running(run->run_id, MyProcPid, MyStartTimestamp, true))
		return true;
	end->status = "skipped";
	end->note = "another run of the job was going on in a session";
	return false;
}

/* Load the run and mark it running; false if there is nothing to do. */
static bool
prepare(WorkerRun *w)
{
	AjRun *run;
	AjRunEnd end = {0};
	bool started;

	begin(w, "start a run");
	run = aj_run_find(w->host.run_id);
	if (run == NULL || strcmp(run->status, "queued") != 0)
	{
		aj_tx_commit();
		return false;
	}
	w->host.job_id = run->job_id;
	w->host.at = run->at;
	started = start(w, run, &end);
	if (!started)
		finish(w, &end);
	aj_tx_commit();
	MemoryContextSwitchTo(w->host.context);
	if (started)
	{
		char *name = psprintf("pg_aggjobs: %s run " INT64_FORMAT, run->job_name,
							  run->run_id);

		SetConfigOption("application_name", name, PGC_USERSET, PGC_S_SESSION);
	}
	return started;
}

static void
check_time_limit(void)
{
	if (aj_time_limit_passed())
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("the run went on beyond its time limit")));
}

static void
run_step(WorkerRun *w, const Jsonb *step, bool is_last)
{
	const AjStepKind *kind = aj_step_kind(step);
	bool runs_user_sql = kind->is_bare != NULL;
	bool bare = runs_user_sql && kind->is_bare(step);
	char *activity = aj_json_text_field(step, "command");
	Jsonb *result;

	if (activity == NULL)
		activity = aj_json_as_text(step);
	if (bare)
		aj_tx_begin_bare(activity);
	else if (runs_user_sql)
		aj_tx_begin_users(activity);
	else
		aj_tx_begin(activity);
	result = aj_execute_step(step, &w->host);
	if (bare || !aj_tx_make_own())
	{
		aj_tx_commit();
		begin(w, "store a result");
	}
	check_time_limit();
	aj_run_add_step(w->host.run_id, result);
	if (is_last)
	{
		AjRunEnd end = {.status = "succeeded"};

		/* The work is done: what its end waits for counts no more. */
		aj_time_limit_stop();
		aj_slots_set_deadline(w->slot_index, DT_NOEND);
		finish(w, &end);
	}
	aj_tx_commit();
	MemoryContextSwitchTo(w->host.context);
}

/*
 * Let others go first.  What is given away can't be had back, so that the
 * process must end after the run.
 */
static void
be_nice(int nice)
{
	if (nice > 0 && setpriority(PRIO_PROCESS, 0, nice) != 0)
		ereport(WARNING,
				(errmsg("could not set the nice value %d of the run: %m",
						nice)));
}

static void
run_steps(WorkerRun *w)
{
	int n = aj_json_length(w->job->steps);

	/* The last step stores the end of the run, so one there must be. */
	if (n == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("job \"%s\" has no steps", aj_clip(w->job->name)),
			 errhint(
				 "Give it some with aggjobs_alter_job(name, steps => ...).")));
	w->deadline = aj_execute_deadline(w->job, aj_now());
	if (aj_json_length(w->job->settings) > 0)
	{
		aj_tx_begin("apply settings");
		aj_job_settings_apply(w->job->settings, GUC_ACTION_SET);
		aj_tx_commit();
		MemoryContextSwitchTo(w->host.context);
	}

	if (w->deadline != DT_NOEND)
		aj_slots_set_deadline(w->slot_index, w->deadline);
	aj_time_limit_start(w->deadline);
	if (w->job->memory_limit > 0)
		aj_memory_limit_set(w->job->memory_limit);
	be_nice(w->job->policy.nice);
	for (int i = w->first_step; i < n; i++)
		run_step(w, aj_json_element(w->job->steps, i), i == n - 1);
}

/*
 * Is this what the leader of a parallel plan is told when the postmaster ends
 * the workers of it, or does not start them any more?
 */
static bool
is_loss_of_parallel_workers(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
		error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE ||
		error->sqlerrcode == ERRCODE_INTERNAL_ERROR;
}

/* Which end an error is: the run's own, or somebody's wish. */
static void
classify(WorkerRun *w, const ErrorData *error, AjRunEnd *end)
{
	char reason[AJ_REASON_SIZE];
	AjStop stop = aj_slots_stop(w->slot_index, reason);

	end->status = "failed";
	end->error = error->message;
	end->sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
	end->detail = error->detail;
	end->hint = error->hint;
	end->context = error->context;
	if (aj_time_limit_passed() || stop == AJ_STOP_TIMEOUT)
	{
		end->status = "timed_out";
		end->note = "over the time limit of the job";
	}
	else if (stop == AJ_STOP_CANCEL || stop == AJ_STOP_LEAVE ||
			 stop == AJ_STOP_SHUTDOWN)
	{
		end->status = "cancelled";
		end->is_interrupted = stop != AJ_STOP_CANCEL;
		end->note = pstrdup(reason);
	}
	else if (shutting_down && is_loss_of_parallel_workers(error))
	{
		end->status = "cancelled";
		end->is_interrupted = true;
		end->note = AJ_SHUTDOWN_REASON;
	}
	else if (error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
			 aj_statement_limit_passed())
	{
		end->status = "timed_out";
		end->note = "over statement_timeout";
	}
	else if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
	{
		end->status = "cancelled";
		end->note = "cancelled by a signal";
	}
}

static void
record_error(WorkerRun *w)
{
	AjRunEnd end = {0};
	ErrorData *error;

	/* What follows must be able to allocate, and must not be cut short. */
	aj_memory_limit_clear();
	HOLD_INTERRUPTS();
	aj_time_limit_stop();
	aj_statement_limit_stop(true);
	QueryCancelPending = false;

	EmitErrorReport();
	MemoryContextSwitchTo(w->host.context);
	error = CopyErrorData();
	FlushErrorState();
	aj_tx_abort();
	RESUME_INTERRUPTS();

	/*
	 * The scheduler asks a run that should stop again and again, also while
	 * its end is being stored; being ended is still possible.
	 */
	HOLD_CANCEL_INTERRUPTS();
	begin(w, "store an error");
	classify(w, error, &end);
	finish(w, &end);
	aj_tx_commit();
	QueryCancelPending = false;
	RESUME_CANCEL_INTERRUPTS();
}

/* Is this process a worker in the middle of a run? */
bool
aj_worker_is_running(void)
{
	return running;
}

/*
 * aj_worker_outlives_shutdown
 *		The server is being shut down: true in the middle of a run, which goes
 *		on then.  For handlers of signals.
 *
 * The postmaster starts no process any more, and a plan that asked for some
 * would fail: with this setting it does without.
 */
bool
aj_worker_outlives_shutdown(void)
{
	if (!running)
		return false;
	shutting_down = true;
	max_parallel_workers = 0;
	return true;
}

/*
 * aj_execute_in_worker
 *		Run "run_id", queued for the worker in this slot, to its end.  False
 *		if the process is not fit for another run.
 *
 * Raises an error only if the end could not be stored.
 */
bool
aj_execute_in_worker(int slot_index, int64 run_id)
{
	MemoryContext saved = CurrentMemoryContext;
	WorkerRun w = {.slot_index = slot_index};
	bool is_fit;

	w.host.run_id = run_id;
	w.host.in_worker = true;
	w.host.slot_index = slot_index;
	w.host.now = aj_now();
	w.host.commit = commit_and_begin;
	w.host.context = AllocSetContextCreate(TopMemoryContext, "pg_aggjobs run",
										   ALLOCSET_DEFAULT_SIZES);
	aj_log_capture_start(run_id);
	aj_usage_start(&w.usage);

	/* That the run before was over its limit says nothing of this one. */
	aj_time_limit_start(DT_NOEND);
	running = true;

	PG_TRY();
	{
		if (prepare(&w))
			run_steps(&w);
	}
	PG_CATCH();
	{
		record_error(&w);
	}
	PG_END_TRY();

	running = false;
	aj_time_limit_stop();
	aj_memory_limit_clear();
	aj_log_capture_stop();
	MemoryContextSwitchTo(saved);
	is_fit = w.job == NULL || w.job->policy.nice == 0;
	MemoryContextDelete(w.host.context);
	return is_fit;
}
