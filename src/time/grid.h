/*
 * grid.h
 *	  Boundaries at equal distances, in true time or on the calendar.
 */
#ifndef AJ_TIME_GRID_H
#define AJ_TIME_GRID_H

#include "base/compat.h"
#include "time/wall_clock.h"

/* Just one of "step" and "months" is not 0. */
typedef struct AjGrid
{
	int64 step; /* microseconds */
	int months;
	bool local;	  /* counted in what "clock" shows, not in true time */
	int64 origin; /* one of the boundaries, true or as shown */
	AjClock clock;
} AjGrid;

extern void aj_grid_set(AjGrid *grid, const Interval *width, const pg_tz *zone,
						TimestampTz origin);
extern int64 aj_grid_floor(const AjGrid *grid, int64 at);
extern TimestampTz aj_grid_start(AjGrid *grid, TimestampTz instant);
extern TimestampTz aj_grid_end(AjGrid *grid, TimestampTz instant);

extern bool aj_count_floor(int64 number, int64 width, int64 origin,
						   int64 *boundary);
extern bool aj_count_next(int64 number, int64 width, int64 origin,
						  int64 *boundary);

#endif /* AJ_TIME_GRID_H */
