/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  The one place that reads the wall clock.
 *
 * All else takes time as a parameter or asks here, so that a build for tests
 * can put another clock in this one file.  No state, no locks, no errors.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/clock.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "utils/timestamp.h"

/*
 * aj_now
 *		The present instant, in microseconds since 2000-01-01 00:00 UTC.
 */
TimestampTz
aj_now(void)
{
	return GetCurrentTimestamp();
}

/*
 * aj_milliseconds_until
 *		How long to sleep until "instant", rounded up so that a sleeper does
 *		not wake just too early; 0 if it is past, at most INT_MAX.
 */
long
aj_milliseconds_until(TimestampTz instant)
{
	TimestampTz now = aj_now();

	if (instant <= now)
		return 0;
	if (TIMESTAMP_NOT_FINITE(instant) || (instant - now) / 1000 >= INT_MAX)
		return INT_MAX;
	return (long) ((instant - now + 999) / 1000);
}
