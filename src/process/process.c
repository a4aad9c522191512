/*-------------------------------------------------------------------------
 *
 * process.c
 *	  Our background processes: what they have in common.
 *
 * SIGTERM ends a process at its next CHECK_FOR_INTERRUPTS, also in the middle
 * of SQL or of a wait for a lock, unless it has a handler of its own that lets
 * runs come to their end while the server is shut down.  Every wait is on the
 * latch.  No state but whether such a shutdown was noted.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/process.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <fcntl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "process/process.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/pidfile.h"

#define PIDFILE "postmaster.pid"

volatile sig_atomic_t aj_shutdown_noted = false;

/* Handlers for reload and end; signals are open from then on. */
void
aj_process_signals(pqsigfunc on_sigterm)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, on_sigterm);
	BackgroundWorkerUnblockSignals();
}

/*
 * aj_process_server_stops
 *		Is the server being shut down?  For handlers of signals.
 *
 * The postmaster writes that into its lock file before it signals anybody, and
 * nothing else tells SIGTERM from it apart from pg_terminate_backend().
 */
bool
aj_process_server_stops(void)
{
	int saved_errno = errno;
	char text[1024];
	const char *line = text;
	ssize_t length = -1;
	int fd = open(PIDFILE, O_RDONLY);

	if (fd >= 0)
	{
		length = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	errno = saved_errno;
	if (length < 0)
		return false;
	text[length] = '\0';
	for (int i = 1; i < LOCK_FILE_LINE_PM_STATUS; i++)
	{
		line = strchr(line, '\n');
		if (line == NULL)
			return false;
		line++;
	}
	return strncmp(line, PM_STATUS_STOPPING, strlen(PM_STATUS_STOPPING)) == 0;
}

/* Go on for a while; for handlers of signals. */
void
aj_process_note_shutdown(void)
{
	aj_shutdown_noted = true;
	SetLatch(MyLatch);
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
