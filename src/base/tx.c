/*-------------------------------------------------------------------------
 *
 * tx.c
 *	  Transactions of our own processes.
 *
 * A process without a client has to open its transactions itself, and to
 * say what it does: pg_stat_activity shows the activity, and statistics are
 * sent at each end, or autovacuum would never hear of the rows written.
 *
 * aj_tx_begin() opens a real transaction block, as a client's BEGIN does, so
 * that nothing below takes the work for a statement of its own.
 *
 * The memory context that was current at the begin is so again at the end.
 *
 * No state but the server's and that context, no locks; errors are the
 * server's own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/tx.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/testing.h"
#include "base/tx.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

static MemoryContext callers_context = NULL;

static void
report_running(const char *activity)
{
	callers_context = CurrentMemoryContext;
	SetCurrentStatementStartTimestamp();
	debug_query_string = activity;
	pgstat_report_activity(STATE_RUNNING, activity);
}

static void
report_idle(void)
{
	debug_query_string = NULL;
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	if (callers_context != NULL)
		MemoryContextSwitchTo(callers_context);
}

static void
open_block(const char *activity)
{
	report_running(activity);
	StartTransactionCommand();
	BeginTransactionBlock();
	CommitTransactionCommand();
	StartTransactionCommand();
}

/*
 * aj_tx_begin
 *		Open a transaction block of our own, with a snapshot.  "activity" is
 *		shown in pg_stat_activity and, if an error comes, in the server's log;
 *		it must live until the end of the transaction.
 *
 * It may write and sees what is committed, whatever the default modes of the
 * role or the database are.
 */
void
aj_tx_begin(const char *activity)
{
	open_block(activity);
	XactReadOnly = false;
	XactIsoLevel = XACT_READ_COMMITTED;
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* The same for what users wrote: there the default modes count. */
void
aj_tx_begin_users(const char *activity)
{
	open_block(activity);
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * aj_tx_make_own
 *		Go on in a user's transaction as if it were our own; false if it is
 *		read only, and so can only be ended.
 *
 * That others have changed rows of ours since its first statement is no
 * serialization failure of the user's.
 */
bool
aj_tx_make_own(void)
{
	if (XactReadOnly)
		return false;
	XactIsoLevel = XACT_READ_COMMITTED;
	return true;
}

/*
 * aj_tx_begin_bare
 *		Open a transaction without block and snapshot, for statements that
 *		insist on it: CALL with COMMIT, VACUUM, CREATE INDEX CONCURRENTLY.
 */
void
aj_tx_begin_bare(const char *activity)
{
	report_running(activity);
	StartTransactionCommand();
}

/*
 * aj_tx_commit
 *		Commit what either of the above opened.
 */
void
aj_tx_commit(void)
{
	const char *activity = debug_query_string;

	AJ_FAULT_POINT("before commit", activity);
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	if (IsTransactionBlock())
	{
		EndTransactionBlock(false);
		CommitTransactionCommand();
	}
	else
		CommitTransactionCommand();
	AJ_FAULT_POINT("after commit", activity);
	report_idle();
}

/*
 * aj_tx_abort
 *		Roll back whatever is open, in any state; for error handlers.
 */
void
aj_tx_abort(void)
{
	AbortOutOfAnyTransaction();
	report_idle();
}

/*
 * aj_tx_try
 *		Do "work" in a transaction of its own; an error is reported and rolled
 *		back, and false returned.
 */
bool
aj_tx_try(const char *activity, void (*work)(void *arg), void *arg)
{
	int reported = 0;

	return aj_tx_try_again(activity, work, arg, &reported);
}

/*
 * aj_tx_try_again
 *		The same for what is tried until it succeeds.  What was reported last
 *		is not reported again: *reported is its SQLSTATE, 0 at first and after
 *		success.
 *
 * Else what can't be written for hours, as the disk is full, would fill the
 * server's log as well.
 */
bool
aj_tx_try_again(const char *activity, void (*work)(void *arg), void *arg,
				int *reported)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		aj_tx_begin(activity);
		work(arg);
		aj_tx_commit();
		*reported = 0;
		done = true;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		if (*reported != geterrcode())
			EmitErrorReport();
		*reported = geterrcode();
		FlushErrorState();
		aj_tx_abort();
		MemoryContextSwitchTo(context);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	return done;
}
