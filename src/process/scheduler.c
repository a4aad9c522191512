/*-------------------------------------------------------------------------
 *
 * scheduler.c
 *	  Decides when each job of one database is due, and gives it a worker.
 *
 * One scheduler runs in each database that has the extension.  It sleeps on
 * its latch until the first job is due or something wakes it: a changed job,
 * a triggered run, a worker that is done, log lines.  While a job is planned it
 * looks at the clock every minute, which may have been set; with nothing
 * planned it does not wake at all.  It never runs the user's SQL, so a bad job
 * can stop its own worker but not the clock.
 *
 * One pass is: what woke me, ends of workers, log lines, due slots, queued
 * runs, limits, history.  Each part has a file: due.c, dispatch.c, reap.c.
 *
 * State: copies of what the tables say, private, made anew after an error.
 * Memory: "pg_aggjobs scheduler" for its life, "pg_aggjobs jobs" until the
 * jobs are read again, "pg_aggjobs pass" reset each pass.  Locks: none over a
 * statement or a wait.
 *
 * Failure: a pass that errors is logged and tried again after a pause that
 * doubles up to a minute.  The process ends with the postmaster, on SIGTERM
 * (the launcher starts another), when the extension is not there, when DDL
 * wants the database, and at a reload after time zone files were installed.
 * While the server is shut down it starts nothing, and stays until the runs
 * that go on are over or their time is.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/scheduler.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/settings.h"
#include "base/testing.h"
#include "base/tx.h"
#include "catalog/backfill.h"
#include "catalog/run.h"
#include "catalog/version.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "process/dispatch.h"
#include "process/due.h"
#include "process/process.h"
#include "process/reap.h"
#include "shmem/databases.h"
#include "shmem/slots.h"
#include "storage/ipc.h"
#include "time/zone_files.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define FIRST_PAUSE_MS 1000
#define LONGEST_PAUSE_MS 60000
#define LOCK_TIMEOUT "100ms" /* nobody may stop the clock by a lock */
#define SESSION_ENDS_MS 200	 /* from its word to its end */

static int entry = -1; /* ours in shmem/databases.c */
static Oid database;   /* known before the process is connected */
static AjDatabaseState state_after = AJ_DATABASE_WANTED;
static MemoryContext jobs_context;
static MemoryContext pass_context;
static AjSlotView *slots;
static bool must_load = true;
static bool logs_wait = false;
static TimestampTz store_logs_at = 0;
static TimestampTz orphans_at = DT_NOEND;
static int orphans_reported = 0;  /* see aj_tx_try_again() */
static TimestampTz last_seen = 0; /* on the clock */
static time_t zones_installed_at;

/* Once it looks after runs; in the handler of a signal. */
static bool
outlives_shutdown(void)
{
	return slots != NULL;
}

static void
at_exit(int code, Datum argument)
{
	/* Nobody else would end them. */
	if (aj_shutdown_noted)
		aj_slots_stop_database(database, AJ_STOP_SHUTDOWN, AJ_SHUTDOWN_REASON,
							   true);
	aj_databases_detach_scheduler(entry, state_after);
}

static bool
extension_exists(void)
{
	bool exists;

	aj_tx_begin("look for the extension");
	exists = get_extension_oid("pg_aggjobs", true) != InvalidOid;
	aj_tx_commit();
	return exists;
}

static void
crash_orphan(void *arg)
{
	aj_run_crash(*(int64 *) arg);
}

static void
cancel_copied(void *arg)
{
	if (aj_runs_cancel_copied() > 0)
		aj_slots_tell_run_ended();
}

static void
pause_copied(void *arg)
{
	aj_backfills_pause_copied();
}

/* Runs whose process is gone without a word; again later if one is locked. */
static void
end_orphans(void)
{
	int n;
	int64 *orphans;

	orphans_at = DT_NOEND;
	aj_tx_begin("look for runs of dead processes");
	orphans = aj_runs_orphaned(0, &n, pass_context);
	aj_tx_commit();
	for (int i = 0; i < n; i++)
		if (!aj_tx_try_again("end the run of a dead process", crash_orphan,
							 &orphans[i], &orphans_reported))
			orphans_at = TimestampTzPlusMilliseconds(aj_now(), FIRST_PAUSE_MS);
	if (n > 0)
		aj_slots_tell_run_ended();
}

static void
load_jobs(void)
{
	aj_due_reset(jobs_context);
	aj_due_load(NULL, 0);
}

/*
 * The script knows more than we do: leave what it has made alone.  The error is
 * raised again at each pass, until the server is restarted.
 */
static void
check_version(void)
{
	char *script;
	AjVersionState state;

	aj_tx_begin("compare versions");
	MemoryContextSwitchTo(pass_context);
	state = aj_version_state(&script);
	aj_tx_commit();
	MemoryContextSwitchTo(pass_context);
	if (state == AJ_VERSION_SCRIPT_NEWER)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "extension pg_aggjobs has version %s in this database, but the library that the server has loaded has version %s",
				 script, AGGJOBS_VERSION),
			 errdetail("Jobs of this database wait."),
			 errhint("Restart the server.")));
}

/*
 * Read everything again, and put right what a crash left.  Slots know more
 * about the end of their runs than the table, so they come first.
 */
static void
load_everything(void)
{
	check_version();
	(void) aj_reap_ends(slots, aj_slots_look(MyDatabaseId, slots));
	/* before their workers' runs end, which others would follow */
	(void) aj_tx_try("pause copied backfills", pause_copied, NULL);
	end_orphans();
	(void) aj_tx_try("cancel copied runs", cancel_copied, NULL);
	load_jobs();
	aj_dispatch_requeue();
	logs_wait = true; /* of lines that came while there was no scheduler */
	must_load = false;
}

/* Do what the scheduler was woken for. */
static void
answer_wake_ups(void)
{
	int64 jobs[AJ_CHANGED_JOBS];
	int njobs;
	uint32 wake = aj_databases_take_wake(entry, jobs, &njobs);

	if (must_load)
		load_everything();
	else if (wake & AJ_WAKE_ALL_JOBS)
		load_jobs();
	else if (wake & AJ_WAKE_JOBS)
		aj_due_load(jobs, njobs);
	for (int i = 0; i < njobs && (wake & AJ_WAKE_SESSION_RUN); i++)
		aj_reap_count_run(jobs[i]);
	if (wake & AJ_WAKE_RUNS)
		aj_dispatch_requeue();
	if (wake & AJ_WAKE_LOGS)
		logs_wait = true;
	if (wake & AJ_WAKE_ORPHANS)
		orphans_at = TimestampTzPlusMilliseconds(aj_now(), SESSION_ENDS_MS);
}

static TimestampTz
store_logs(int nslots, TimestampTz now)
{
	int again;

	if (!logs_wait)
		return DT_NOEND;
	if (now < store_logs_at)
		return store_logs_at;
	again = aj_reap_store_logs(slots, nslots);
	logs_wait = again > 0;
	store_logs_at =
		TimestampTzPlusMilliseconds(aj_now(),
									Max(again, AJ_STORE_LOGS_EVERY_MS));
	return logs_wait ? store_logs_at : DT_NOEND;
}

/* One pass; returns when the next is due at the latest. */
static TimestampTz
pass(void)
{
	TimestampTz now;
	TimestampTz wake_at;
	TimestampTz look_again;
	int nslots;

	answer_wake_ups();
	now = aj_now();
	nslots = aj_slots_look(MyDatabaseId, slots);
	wake_at = store_logs(nslots, now);
	if (aj_reap_ends(slots, nslots))
		nslots = aj_slots_look(MyDatabaseId, slots);

	if (orphans_at <= now)
		end_orphans();
	wake_at = Min(wake_at, orphans_at);

	if (aj_enabled && !aj_shutdown_noted)
	{
		while (aj_due_fire(now))
			aj_dispatch_requeue();
		look_again = aj_dispatch(slots, nslots, now);
		wake_at = Min(wake_at, look_again);
		wake_at = Min(wake_at, aj_due_next());
	}
	nslots = aj_slots_look(MyDatabaseId, slots);
	look_again = aj_reap_limits(slots, nslots, now);
	wake_at = Min(wake_at, look_again);
	return aj_reap_prune(now) ? now : wake_at;
}

static bool
any_run_goes_on(void)
{
	int n = aj_slots_look(MyDatabaseId, slots);

	for (int i = 0; i < n; i++)
		if (slots[i].state == AJ_SLOT_RUNNING ||
			slots[i].state == AJ_SLOT_ENDED)
			return true;
	return false;
}

/*
 * The server is being shut down: true once there is nothing left to wait for.
 * Runs are asked to stop when their time is over, and their workers are ended
 * if that does not help.
 */
static bool
may_end(TimestampTz *wake_at)
{
	static TimestampTz until = 0;
	TimestampTz now = aj_now();
	TimestampTz terminate_at;

	if (!any_run_goes_on())
		return true;
	if (until == 0)
		until = TimestampTzPlusMilliseconds(now, aj_shutdown_wait);
	/* nor later if the clock is set back */
	until = Min(until, TimestampTzPlusMilliseconds(now, aj_shutdown_wait));
	terminate_at = TimestampTzPlusMilliseconds(until, aj_cancel_grace);
	if (now >= until)
		aj_slots_stop_database(MyDatabaseId, AJ_STOP_SHUTDOWN,
							   AJ_SHUTDOWN_REASON, now >= terminate_at);
	*wake_at =
		Min(*wake_at,
			now >= until ? TimestampTzPlusMilliseconds(now, FIRST_PAUSE_MS)
						 : until);
	return false;
}

/* How long to wait after so many errors in a row. */
static int64
pause_ms(int errors)
{
	int64 pause = FIRST_PAUSE_MS;

	for (int i = 1; i < errors && pause < LONGEST_PAUSE_MS; i++)
		pause *= 2;
	return Min(pause, LONGEST_PAUSE_MS);
}

/* A pass that errors is over; everything is read again at the next. */
static TimestampTz
pass_or_pause(int *errors)
{
	volatile TimestampTz wake_at = DT_NOEND;

	PG_TRY();
	{
		wake_at = pass();
		*errors = 0;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		aj_tx_abort();
		RESUME_INTERRUPTS();
		must_load = true;
		(*errors)++;
		wake_at = TimestampTzPlusMilliseconds(aj_now(), pause_ms(*errors));
	}
	PG_END_TRY();
	return wake_at;
}

static void
initialize(void)
{
	MemoryContext context;

	context = AllocSetContextCreate(TopMemoryContext, "pg_aggjobs scheduler",
									ALLOCSET_DEFAULT_SIZES);
	jobs_context = AllocSetContextCreate(context, "pg_aggjobs jobs",
										 ALLOCSET_DEFAULT_SIZES);
	pass_context = AllocSetContextCreate(context, "pg_aggjobs pass",
										 ALLOCSET_DEFAULT_SIZES);
	slots =
		MemoryContextAlloc(context,
						   sizeof(AjSlotView) * (Size) aj_segment()->nslots);
	aj_due_reset(jobs_context);
	aj_dispatch_init(context);
	aj_reap_init(context);
}

/* What was to be done in a while is far off by the clock as it is now. */
static void
hurry(void)
{
	aj_databases_post(MyDatabaseId, AJ_WAKE_ALL_JOBS | AJ_WAKE_RUNS, 0);
	store_logs_at = 0;
	if (orphans_at != DT_NOEND)
		orphans_at = TimestampTzPlusMilliseconds(aj_now(), SESSION_ENDS_MS);
}

static void
wait_until(TimestampTz wake_at, bool paused)
{
	bool woken;

	do
	{
		long rest = aj_milliseconds_until(wake_at);

		woken = aj_process_wait(wake_at == DT_NOEND
									? -1
									: Min(rest, AJ_LONGEST_SLEEP_MS),
								"AggjobsScheduler");
		if (aj_clock_went_back(&last_seen))
		{
			hurry();
			return;
		}
	} while ((paused || !woken) && aj_now() < wake_at && !aj_shutdown_noted &&
			 !aj_databases_held(entry));
}

/* Then another scheduler goes by the new rules (process/due.c). */
static bool
zones_were_installed(void)
{
	if (aj_zone_files_installed_at() == zones_installed_at)
		return false;
	ereport(
		LOG,
		(errmsg(
			"time zone files were installed: the scheduler of database %u starts anew",
			database)));
	return true;
}

/*
 * aj_scheduler_main
 *		Entry point of a scheduler; the argument is the number of its entry
 *		among the databases.
 */
void
aj_scheduler_main(Datum argument)
{
	int errors = 0;

	aj_process_signals(outlives_shutdown);
	entry = DatumGetInt32(argument);
	AJ_FAULT_POINT("at", "started");
	if (!aj_databases_attach_scheduler(entry, &database))
		return;
	before_shmem_exit(at_exit, (Datum) 0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	AJ_FAULT_POINT("at", "connected");
	if (!extension_exists())
	{
		state_after = AJ_DATABASE_ABSENT;
		return;
	}
	initialize();
	zones_installed_at = aj_zone_files_installed_at();
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);

	/*
	 * A standby that is not there must not stop the clock, nor a shutdown.  What
	 * a run commits waits for it, and our records lie before that in the log.
	 */
	SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);

	while (!aj_databases_held(entry))
	{
		TimestampTz wake_at;

		CHECK_FOR_INTERRUPTS();
		if (aj_settings_reload() && zones_were_installed())
			break;
		MemoryContextReset(pass_context);
		MemoryContextSwitchTo(pass_context);
		wake_at = pass_or_pause(&errors);
		if (aj_shutdown_noted && may_end(&wake_at))
			break;
		wait_until(wake_at, errors > 0 && !aj_shutdown_noted);
	}
}
