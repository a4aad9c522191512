/*-------------------------------------------------------------------------
 *
 * limits.c
 *	  The time limits of a run and of its statements.
 *
 * A timer of our own, which no setting reaches: user SQL can change
 * statement_timeout, but not this.  It asks for a cancel at the deadline and
 * every second after it, for code that catches the cancel and goes on.
 *
 * statement_timeout itself is for who sets it: the server arms it only for the
 * statements of clients, so here it is armed for those of a command.
 *
 * State: private to the process.  The handler runs in a signal handler and
 * only sets flags and the latch.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/limits.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <signal.h>

#include "base/clock.h"
#include "miscadmin.h"
#include "run/limits.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#define REPEAT_MS 1000

static volatile sig_atomic_t passed = false;
static TimeoutId timer = MAX_TIMEOUTS;
static TimestampTz statement_deadline = DT_NOEND;

static void
at_deadline(void)
{
	passed = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Limit what follows; DT_NOEND means no limit. */
void
aj_time_limit_start(TimestampTz deadline)
{
	passed = false;
	statement_deadline = DT_NOEND;
	if (deadline == DT_NOEND)
		return;
	if (timer == MAX_TIMEOUTS)
		timer = RegisterTimeout(USER_TIMEOUT, at_deadline);
	deadline = aj_real_instant(deadline);
	if (deadline != DT_NOEND)
		enable_timeout_every(timer, deadline, REPEAT_MS);
}

/* The limited part is over, well or not. */
void
aj_time_limit_stop(void)
{
	if (timer != MAX_TIMEOUTS)
		disable_timeout(timer, false);
}

/* Was the deadline reached since the last start? */
bool
aj_time_limit_passed(void)
{
	return passed;
}

/* Limit a statement by what statement_timeout is now. */
void
aj_statement_limit_start(void)
{
	statement_deadline = DT_NOEND;
	if (StatementTimeout <= 0)
		return;
	statement_deadline =
		TimestampTzPlusMilliseconds(aj_now(), StatementTimeout);
	enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
}

/* The statement is over; "failed" keeps its deadline for the question below. */
void
aj_statement_limit_stop(bool failed)
{
	disable_timeout(STATEMENT_TIMEOUT, false);
	if (!failed)
		statement_deadline = DT_NOEND;
}

/* Is the last limited statement, which has just failed, over its limit? */
bool
aj_statement_limit_passed(void)
{
	return statement_deadline <= aj_now();
}
