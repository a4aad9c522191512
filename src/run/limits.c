/*-------------------------------------------------------------------------
 *
 * limits.c
 *	  The time limit of a run.
 *
 * A timer of our own, which no setting reaches: user SQL can change
 * statement_timeout, but not this.  It asks for a cancel at the deadline and
 * every second after it, for code that catches the cancel and goes on.
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

#include "miscadmin.h"
#include "run/limits.h"
#include "storage/latch.h"
#include "utils/timeout.h"

#define REPEAT_MS 1000

static volatile sig_atomic_t passed = false;
static TimeoutId timer = MAX_TIMEOUTS;

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
	if (deadline == DT_NOEND)
		return;
	if (timer == MAX_TIMEOUTS)
		timer = RegisterTimeout(USER_TIMEOUT, at_deadline);
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
