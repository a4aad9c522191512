/*-------------------------------------------------------------------------
 *
 * limited.c
 *	  Work that may be given up when it takes too long, and limits of waits for
 *	  locks.
 *
 * The work is done in a subtransaction, so that what was given up leaves
 * neither rows nor locks, and the transaction around it goes on.
 *
 * A timer of our own: statement_timeout is armed by the server for the
 * statements of clients only, and theirs must go on counting.
 *
 * State: private to the process.  The handler only sets flags and the latch.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/limited.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <signal.h>

#include "access/xact.h"
#include "base/limited.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timeout.h"

static volatile sig_atomic_t late = false;
static TimeoutId timer = MAX_TIMEOUTS;

static void
at_deadline(void)
{
	late = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static void
start_timer(int milliseconds)
{
	late = false;
	if (milliseconds == 0)
		return;
	if (timer == MAX_TIMEOUTS)
		timer = RegisterTimeout(USER_TIMEOUT, at_deadline);
	enable_timeout_after(timer, milliseconds);
}

/* A cancel of ours that was not noticed must not hit what comes next. */
static void
stop_timer(int milliseconds)
{
	if (milliseconds > 0)
		disable_timeout(timer, false);
	if (late)
		QueryCancelPending = false;
}

/* Wait so many milliseconds for each lock, until the GUC nest level ends. */
void
aj_set_lock_timeout(int milliseconds)
{
	(void) set_config_option("lock_timeout", psprintf("%d", milliseconds),
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
							 0, false);
}

static void
do_limited(const AjLimits *limits, void (*work)(void *arg), void *arg)
{
	int level = NewGUCNestLevel();

	if (limits->lock > 0)
		aj_set_lock_timeout(limits->lock);
	start_timer(limits->time);
	work(arg);
	stop_timer(limits->time);
	AtEOXact_GUC(true, level);
}

/* Is this error the end of one of the limits?  If not, it is raised again. */
static AjLimited
which_limit(ErrorData *error)
{
	if (error == NULL)
		return AJ_LIMITED_DONE;
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED)
		return AJ_LIMITED_LOCKED;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && late)
		return AJ_LIMITED_LATE;
	ReThrowError(error);
	return AJ_LIMITED_DONE; /* not reached */
}

/*
 * aj_limit_lock_waits
 *		Wait at most so many milliseconds for each lock, or less where the
 *		session says so; returns what AtEOXact_GUC() needs to undo it.
 */
int
aj_limit_lock_waits(int milliseconds)
{
	int level = NewGUCNestLevel();

	if (LockTimeout == 0 || LockTimeout > milliseconds)
		aj_set_lock_timeout(milliseconds);
	return level;
}

/*
 * aj_limited
 *		Do "work", and undo it if a limit ends it.
 *
 * What the work allocates in the current context stays.  Other errors than
 * those of the limits are raised.
 */
AjLimited
aj_limited(const AjLimits *limits, void (*work)(void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		do_limited(limits, work, arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		stop_timer(limits->time);
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return which_limit(error);
}
