/*
 * clock.h
 *	  The one place that reads the wall clock.
 */
#ifndef AJ_BASE_CLOCK_H
#define AJ_BASE_CLOCK_H

#include "base/compat.h"
#include "datatype/timestamp.h"

extern TimestampTz aj_now(void);
extern TimestampTz aj_real_now(void);
extern TimestampTz aj_real_instant(TimestampTz instant);
extern long aj_milliseconds_until(TimestampTz instant);

#endif /* AJ_BASE_CLOCK_H */
