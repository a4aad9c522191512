/*
 * wall_clock.h
 *	  What the clock on a wall in some time zone shows, and when.
 */
#ifndef AJ_TIME_WALL_CLOCK_H
#define AJ_TIME_WALL_CLOCK_H

#include "base/compat.h"
#include "datatype/timestamp.h"
#include "pgtime.h"

/*
 * A clock, and the calm stretch that was looked at last: there the clock runs
 * with the true time and shows nothing that it has shown before.
 */
typedef struct AjClock
{
	const pg_tz *zone;
	TimestampTz calm_begin;
	TimestampTz calm_end; /* first instant behind; calm_begin if unknown */
	int64 calm_offset;	  /* shown minus true time, microseconds */
} AjClock;

extern void aj_clock_set(AjClock *clock, const pg_tz *zone);
extern int64 aj_clock_shows(const AjClock *clock, TimestampTz at);
extern int64 aj_clock_mark(AjClock *clock, TimestampTz at);
extern TimestampTz aj_clock_first_shown(const AjClock *clock, int64 shown);
extern TimestampTz aj_clock_next_jump(const AjClock *clock, TimestampTz at);

#endif /* AJ_TIME_WALL_CLOCK_H */
