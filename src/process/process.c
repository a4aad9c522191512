/*-------------------------------------------------------------------------
 *
 * process.c
 *	  Our background processes: what they have in common.
 *
 * SIGTERM ends a process at its next CHECK_FOR_INTERRUPTS, also in the middle
 * of SQL or of a wait for a lock.  Every wait is on the latch.  No state.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/process.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "process/process.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"

/* Handlers for reload and end; signals are open from then on. */
void
aj_process_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
}

/* Take over a changed configuration, if there is one. */
void
aj_process_reload(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/*
 * aj_process_wait
 *		Sleep until the latch is set or the time is over; -1 waits for the
 *		latch alone.  "what" names the wait in pg_stat_activity from 17 on.
 */
void
aj_process_wait(long milliseconds, const char *what)
{
	static uint32 events[4];
	static const char *names[4];
	int events_mask = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	int i = 0;

	while (i < (int) lengthof(names) - 1 && names[i] != NULL &&
		   names[i] != what)
		i++;
	if (names[i] != what)
	{
		names[i] = what;
		events[i] = aj_wait_event(what);
	}
	if (milliseconds >= 0)
		events_mask |= WL_TIMEOUT;
	(void) WaitLatch(MyLatch, events_mask, milliseconds, events[i]);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * aj_process_start
 *		Ask the postmaster for a process of ours; false if no slot is free.
 */
bool
aj_process_start(const char *name, const char *type, const char *function,
				 int32 argument, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};

	strlcpy(worker.bgw_name, name, sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, type, sizeof(worker.bgw_type));
	strlcpy(worker.bgw_library_name, "pg_aggjobs",
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function,
			sizeof(worker.bgw_function_name));
	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(argument);
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}
