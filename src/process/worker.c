/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Runs one run at a time, connected as the owner of its job.
 *
 * A worker is connected as the owner from its first statement; there is no
 * other user that what it runs could go back to.  Starting a process costs
 * more than a small run, so after a run it resets its session, as DISCARD ALL
 * does, and waits a little for another run of the same owner.  It ends when
 * none comes (aggjobs.worker_idle), after many runs, when its memory has
 * grown, and after a run that was stopped or that left doubt.  While the server
 * is shut down it ends after its run.
 *
 * State: its slot, shmem/slots.c.  The exit callback is registered before the
 * process connects, so whatever ends it, the scheduler learns of it.
 *
 * Failure: errors of a run are dealt with in run/worker_run.c.  Any other
 * error ends the process.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/worker.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/settings.h"
#include "base/testing.h"
#include "base/tx.h"
#include "base/usage.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "process/process.h"
#include "run/execute.h"
#include "run/log_capture.h"
#include "shmem/databases.h"
#include "shmem/slots.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SHORTEST_IDLE_MS 1000

/* A run may go on for a while: the scheduler ends it if need be. */
static bool
outlives_shutdown(void)
{
	return aj_databases_scheduler_seems_alive(MyDatabaseId) &&
		aj_worker_outlives_shutdown();
}

static void
at_exit(int code, Datum argument)
{
	const char *message;
	int sqlstate = aj_log_capture_fatal(&message);

	aj_slots_leave(DatumGetInt32(argument), sqlstate, message);
	aj_slots_tell_run_ended();
}

/*
 * Leave nothing of one run to the next: all that DISCARD ALL throws away, but
 * for the plans that this process keeps of its own statements, which make up
 * half of the time of a small run.  Plans hold nothing of a run, the server
 * checks them before each use, and the next run has the same owner.
 */
static void
reset_session(void)
{
	AJ_FAULT_POINT("at", "reset");
	aj_tx_begin_bare("reset the session");
	PortalHashTableDeleteAll();
	SetPGVariable("session_authorization", NIL, false);
	ResetAllOptions();
	DropAllPreparedStatements();
	Async_UnlistenAll();
	LockReleaseAll(USER_LOCKMETHOD, true);
	/* What is dropped may have to be read out of line in catalogs. */
	PushActiveSnapshot(GetTransactionSnapshot());
	ResetTempTableNamespace();
	PopActiveSnapshot();
	ResetSequenceCaches();
	aj_tx_commit();
}

static bool
has_grown(void)
{
	Size used = MemoryContextMemAllocated(TopMemoryContext, true);

	return used > (Size) aj_worker_max_memory * 1024;
}

/*
 * Wait for another run; false when it is time to end, at once if "leave".  A
 * run that was assigned already is never left behind.
 */
static bool
wait_for_run(int slot, bool leave)
{
	TimestampTz until = aj_now();

	if (!leave)
		until = TimestampTzPlusMilliseconds(until, aj_worker_idle);
	while (aj_slots_may_idle(slot, aj_now() >= until, leave))
	{
		if (aj_slots_has_assignment(slot))
			return true;
		/* It is kept for its queue. */
		if (aj_now() >= until)
			until = TimestampTzPlusMilliseconds(
				aj_now(), Max(aj_worker_idle, SHORTEST_IDLE_MS));
		(void) aj_process_wait(aj_milliseconds_until(until),
							   "AggjobsWorkerIdle");
		(void) aj_settings_reload();
	}
	return false;
}

/*
 * Take the run that was assigned and run it; false if there was none.  *leave
 * tells whether it has changed the process for good.
 */
static bool
do_run(int slot, bool *leave)
{
	int64 run_id = aj_slots_take_run(slot, aj_now());

	if (run_id == 0)
		return false;
	AJ_FAULT_POINT("at", "run taken");
	*leave = !aj_execute_in_worker(slot, run_id) || aj_shutdown_noted;
	AJ_FAULT_POINT("at", "run over");
	aj_slots_run_over(slot, true, *leave);
	return true;
}

/*
 * aj_worker_main
 *		Entry point of a worker; the argument is the number of its slot.
 */
void
aj_worker_main(Datum argument)
{
	int slot = DatumGetInt32(argument);
	Oid dboid;
	Oid owner;
	int runs = 0;
	bool leave;

	aj_process_signals(outlives_shutdown);
	if (!aj_slots_attach(slot, &dboid, &owner))
		return;
	before_shmem_exit(at_exit, argument);
	AJ_FAULT_POINT("at", "slot attached");
	aj_log_capture_register(slot);
	/* To the server no role would be the bootstrap superuser. */
	if (owner == InvalidOid)
		ereport(FATAL,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("the job has no owner")));
	BackgroundWorkerInitializeConnectionByOid(dboid, owner,
											  AJ_WORKER_CONNECT_FLAGS);
	AJ_FAULT_POINT("at", "connected");

	while (do_run(slot, &leave))
	{
		if (aj_shutdown_noted)
			break;
		runs++;
		reset_session();
		(void) aj_settings_reload();
		if (!wait_for_run(slot,
						  leave || runs >= aj_worker_max_runs || has_grown()))
			break;
	}
}
