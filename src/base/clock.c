/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  The one place that reads the wall clock.
 *
 * All else takes time as a parameter or asks here.  A build for tests has
 * another clock in this place (base/testing.c), which may be shifted or stand
 * still.  No state, no locks, no errors.
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
#include "base/testing.h"
#include "utils/timestamp.h"

/*
 * aj_now
 *		The present instant, in microseconds since 2000-01-01 00:00 UTC.
 */
TimestampTz
aj_now(void)
{
#ifdef AGGJOBS_TESTING
	return aj_testing_now(GetCurrentTimestamp());
#else
	return GetCurrentTimestamp();
#endif
}

/* The machine's clock, for timers that go on whatever ours shows. */
TimestampTz
aj_real_now(void)
{
	return GetCurrentTimestamp();
}

/*
 * aj_real_instant
 *		When the real time will be what the clock shows at "instant"; for what
 *		is handed to timers of the server.
 */
TimestampTz
aj_real_instant(TimestampTz instant)
{
#ifdef AGGJOBS_TESTING
	if (aj_testing_clock_stands())
		return instant <= aj_now() ? GetCurrentTimestamp() : DT_NOEND;
	return instant - aj_now() + GetCurrentTimestamp();
#else
	return instant;
#endif
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
#ifdef AGGJOBS_TESTING
	/* Whoever moves the clock wakes those who wait for it. */
	if (aj_testing_clock_stands())
		return INT_MAX;
#endif
	if (TIMESTAMP_NOT_FINITE(instant) || (instant - now) / 1000 >= INT_MAX)
		return INT_MAX;
	return (long) ((instant - now + 999) / 1000);
}

/*
 * aj_clock_went_back
 *		Has somebody set the clock back since the caller last asked, by more
 *		than a second?  Then what he wanted to do "in a while" is far off now.
 */
bool
aj_clock_went_back(TimestampTz *last_seen)
{
	TimestampTz now = aj_now();
	bool back = now < *last_seen - USECS_PER_SEC;

	*last_seen = now;
	return back;
}
