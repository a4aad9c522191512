/*
 * clock.h
 *	  The one place that reads the wall clock.
 */
#ifndef AJ_BASE_CLOCK_H
#define AJ_BASE_CLOCK_H

#include "base/compat.h"
#include "datatype/timestamp.h"

/*
 * Timers of the server do not see that somebody sets the clock, nor the time
 * that a machine sleeps: who waits for an instant looks again after so long.
 */
#ifdef AGGJOBS_TESTING
#define AJ_LONGEST_SLEEP_MS 1000
#else
#define AJ_LONGEST_SLEEP_MS 60000
#endif

extern TimestampTz aj_now(void);
extern TimestampTz aj_real_now(void);
extern TimestampTz aj_real_instant(TimestampTz instant);
extern long aj_milliseconds_until(TimestampTz instant);
extern bool aj_clock_went_back(TimestampTz *last_seen);

#endif /* AJ_BASE_CLOCK_H */
