/*-------------------------------------------------------------------------
 *
 * process.c
 *	  Our background processes: what they have in common.
 *
 * SIGTERM ends a process at its next CHECK_FOR_INTERRUPTS, also in the middle
 * of SQL or of a wait for a lock; but while the server is shut down a process
 * may choose to let runs come to their end.  Every wait is on the latch.  No
 * state but whether such a shutdown was noted.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/process.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <signal.h>

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "process/process.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"

volatile sig_atomic_t aj_shutdown_noted = false;

static bool (*may_go_on)(void) = NULL;

/*
 * Only at a shutdown of the server is it the postmaster that sends SIGTERM;
 * everybody else, pg_terminate_backend() included, sends it himself.
 */
static void
on_sigterm(int signal_number, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	if (info->si_pid == PostmasterPid)
		aj_shutdown_noted = true;
	if (info->si_pid == PostmasterPid && may_go_on != NULL && may_go_on())
		SetLatch(MyLatch);
	else
		die(signal_number);
	errno = saved_errno;
}

/*
 * aj_process_signals
 *		Handlers for reload and end; signals are open from then on.
 *
 * "goes_on" is asked when the server is being shut down, in the handler: true
 * if the process ends later, by itself.  NULL: never.
 */
void
aj_process_signals(bool (*goes_on)(void))
{
	struct sigaction action = {0};

	may_go_on = goes_on;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	/* pqsignal() does not tell the sender. */
	action.sa_sigaction = on_sigterm;
	action.sa_flags = SA_RESTART | SA_SIGINFO;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGTERM, &action, NULL) != 0)
		elog(FATAL, "could not set the handler of SIGTERM: %m");
	BackgroundWorkerUnblockSignals();
}

/*
 * aj_process_wait
 *		Sleep until the latch is set or the time is over; -1 waits for the
 *		latch alone.  "what" names the wait in pg_stat_activity from 17 on.
 *		True if the latch was set.
 */
bool
aj_process_wait(long milliseconds, const char *what)
{
	static uint32 events[4];
	static const char *names[4];
	int events_mask = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
	int i = 0;
	int happened;

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
	happened = WaitLatch(MyLatch, events_mask, milliseconds, events[i]);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return (happened & WL_LATCH_SET) != 0;
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
