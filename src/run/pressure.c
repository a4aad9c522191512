/*-------------------------------------------------------------------------
 *
 * pressure.c
 *	  Whether the server has better to do than work that can wait.
 *
 * Two things are looked at: how many sessions of the database wait for locks
 * (aggjobs.backfill_max_lock_waits), and how much write-ahead log the whole
 * server has written per second (aggjobs.backfill_max_wal), over a window that
 * begins anew once it is long and the rate in it was low enough.
 *
 * State: the caller's.  No locks: what others wait for is read as it is.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/pressure.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xlog.h"
#include "base/clock.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "run/pressure.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

#define WINDOW_US (INT64CONST(10) * USECS_PER_SEC)
#define WAIT_CLASS 0xFF000000U

void
aj_pressure_begin(AjPressure *pressure)
{
	pressure->start = GetXLogInsertRecPtr();
	pressure->since = aj_real_now();
}

static int
lock_waits(void)
{
	int waits = 0;

	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		const volatile PGPROC *proc = &ProcGlobal->allProcs[i];

		if (proc->pid != 0 && proc->databaseId == MyDatabaseId &&
			(proc->wait_event_info & WAIT_CLASS) == PG_WAIT_LOCK)
			waits++;
	}
	return waits;
}

/* Was more logged since the start of the window than its length allows? */
static bool
logs_too_much(AjPressure *pressure)
{
	int64 elapsed = aj_real_now() - pressure->since;
	double bytes = (double) (GetXLogInsertRecPtr() - pressure->start);
	double allowed = (double) aj_backfill_max_wal * 1024 * 1024 *
		((double) elapsed / USECS_PER_SEC);

	if (bytes > allowed)
		return true;
	if (elapsed > WINDOW_US)
		aj_pressure_begin(pressure);
	return false;
}

/*
 * aj_pressure_look
 *		AJ_PHASE_NONE, or what there is too much of: then wait, and look again.
 */
AjPhase
aj_pressure_look(AjPressure *pressure)
{
	if (aj_backfill_max_lock_waits > 0 &&
		lock_waits() > aj_backfill_max_lock_waits)
		return AJ_PHASE_LOCKS;
	if (aj_backfill_max_wal > 0 && logs_too_much(pressure))
		return AJ_PHASE_WAL;
	return AJ_PHASE_NONE;
}
