/*-------------------------------------------------------------------------
 *
 * backoff.c
 *	  How long to wait before another attempt.
 *
 * Exponential delays with a ceiling, of which up to a half is taken off at
 * random, so that what failed together does not come back together.  Known as
 * "equal jitter": half of the delay is fixed, half is random.
 *
 * Pure: allocates nothing, raises no error.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/backoff.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "time/backoff.h"

/*
 * aj_backoff_ms
 *		Milliseconds to wait after so many failures, 1 or more, in a row.
 *
 * first_ms is doubled with each failure, up to longest_ms; "random" from 0 to
 * below 1 takes away between a half and nothing.
 */
int64
aj_backoff_ms(int failures, int64 first_ms, int64 longest_ms, double random)
{
	int64 delay = Min(first_ms, longest_ms);

	for (int i = 1; i < failures && delay > 0 && delay < longest_ms; i++)
		delay = delay > longest_ms / 2 ? longest_ms : delay * 2;
	return delay - (int64) ((double) delay * (1 - random) / 2);
}
