/*-------------------------------------------------------------------------
 *
 * grid.c
 *	  Boundaries at equal distances, in true time or on the calendar.
 *
 * Hours and less are counted in true time from an instant.  Days and months
 * of a zone are counted in what its clock shows and then turned into the
 * instants at which the clock first shows them: "grid_floor" and "grid_next"
 * see plain numbers and know of no zone.  As an instant belongs where the mark
 * of the clock lies (see wall_clock.c), buckets follow each other without gap
 * or overlap in every zone, whatever its clock did.
 *
 * What lies beyond the first or last timestamp is DT_NOBEGIN or DT_NOEND.
 * Arithmetic is exact at any width: only the distance to a boundary is ever
 * computed, never a difference to the origin.
 *
 * Pure: allocates nothing, raises no error, reads no catalog.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/grid.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "common/int.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "time/bucket.h"
#include "time/grid.h"

/* Where grids without an origin begin: months on the 1st, weeks on Monday. */
#define FIRST_OF_MONTH INT64CONST(0) /* 2000-01-01 */
#define MONDAY (2 * USECS_PER_DAY)	 /* 2000-01-03 */

/* What a clock shows is never farther from the timestamps. */
#define MARGIN (2 * USECS_PER_DAY)

/* The years that any zone's clock shows at a timestamp. */
#define FIRST_YEAR (-4713)
#define LAST_YEAR 294277
#define END_DATE (END_TIMESTAMP / USECS_PER_DAY + 2)

static int64
floor_div(int64 number, int64 divisor)
{
	int64 quotient = number / divisor;

	return (number % divisor < 0) ? quotient - 1 : quotient;
}

static int64
floor_mod(int64 number, int64 divisor)
{
	int64 rest = number % divisor;

	return rest < 0 ? rest + divisor : rest;
}

/* How far "number" is beyond the last boundary: 0 to width - 1. */
static int64
beyond_boundary(int64 number, int64 width, int64 origin)
{
	int64 beyond = floor_mod(number, width) - floor_mod(origin, width);

	return beyond < 0 ? beyond + width : beyond;
}

/*
 * aj_count_floor
 *		The last of the numbers origin + n * width that is not above "number".
 *
 * Returns false, with *boundary undefined, if no int64 can hold it.
 */
bool
aj_count_floor(int64 number, int64 width, int64 origin, int64 *boundary)
{
	return !pg_sub_s64_overflow(number, beyond_boundary(number, width, origin),
								boundary);
}

/*
 * aj_count_next
 *		The first of those numbers that is above "number"; as aj_count_floor.
 */
bool
aj_count_next(int64 number, int64 width, int64 origin, int64 *boundary)
{
	return !pg_add_s64_overflow(number,
								width - beyond_boundary(number, width, origin),
								boundary);
}

/* The months from year 0 to the one that holds "at". */
static int64
month_number(int64 at)
{
	int year;
	int month;
	int day;

	j2date((int) floor_div(at, USECS_PER_DAY) + POSTGRES_EPOCH_JDATE, &year,
		   &month, &day);
	return (int64) year * MONTHS_PER_YEAR + month - 1;
}

/*
 * "at" moved by whole months.  A day that the month does not have becomes its
 * last.
 */
static int64
add_months(int64 at, int64 months)
{
	int64 date = floor_div(at, USECS_PER_DAY);
	int64 total = month_number(at) + months;
	int64 year = floor_div(total, MONTHS_PER_YEAR);
	int month = (int) floor_mod(total, MONTHS_PER_YEAR) + 1;
	int day;
	int unused;

	if (year < FIRST_YEAR)
		return DT_NOBEGIN;
	if (year > LAST_YEAR)
		return DT_NOEND;
	j2date((int) date + POSTGRES_EPOCH_JDATE, &unused, &unused, &day);
	day = Min(day, day_tab[isleap((int) year)][month - 1]);
	date = date2j((int) year, month, day) - POSTGRES_EPOCH_JDATE;
	if (date >= END_DATE)
		return DT_NOEND;
	return date * USECS_PER_DAY + floor_mod(at, USECS_PER_DAY);
}

/*
 * The months from the origin to the last boundary that is not above "at".  If
 * that lies in the month of "at" but later than it, it is not the one.
 */
static int64
months_from_origin(const AjGrid *grid, int64 at)
{
	int64 between = month_number(at) - month_number(grid->origin);
	int64 months = floor_div(between, grid->months) * grid->months;

	if (add_months(grid->origin, months) > at)
		months -= grid->months;
	return months;
}

/*
 * aj_grid_floor
 *		The last boundary that is not above "at", both true or both as shown.
 */
int64
aj_grid_floor(const AjGrid *grid, int64 at)
{
	int64 boundary;

	if (grid->months > 0)
		return add_months(grid->origin, months_from_origin(grid, at));
	if (!aj_count_floor(at, grid->step, grid->origin, &boundary))
		return DT_NOBEGIN;
	return boundary;
}

/* The first boundary above "at". */
static int64
grid_next(const AjGrid *grid, int64 at)
{
	int64 boundary;

	if (grid->months > 0)
		return add_months(grid->origin,
						  months_from_origin(grid, at) + grid->months);
	if (!aj_count_next(at, grid->step, grid->origin, &boundary))
		return DT_NOEND;
	return boundary;
}

/*
 * aj_grid_set
 *		The grid of a width that aj_bucket_check() accepts.
 *
 * "zone" is NULL for times without a zone.  "origin" is an instant or
 * AJ_BUCKET_NO_ORIGIN.
 */
void
aj_grid_set(AjGrid *grid, const Interval *width, const pg_tz *zone,
			TimestampTz origin)
{
	bool no_origin = origin == AJ_BUCKET_NO_ORIGIN;

	memset(grid, 0, sizeof(*grid));
	grid->months = width->month;
	grid->step = width->time + width->day * USECS_PER_DAY;
	grid->local = zone != NULL && width->time == 0;
	grid->origin = origin;
	if (no_origin)
		grid->origin = grid->months > 0 ? FIRST_OF_MONTH : MONDAY;
	if (zone == NULL)
		return;

	aj_clock_set(&grid->clock, zone);
	if (no_origin && !grid->local)
		grid->origin = aj_clock_first_shown(&grid->clock, grid->origin);
	if (!no_origin && grid->local)
		grid->origin = aj_clock_shows(&grid->clock, grid->origin);
}

/* In what the grid is counted. */
static int64
counted(AjGrid *grid, TimestampTz instant)
{
	return grid->local ? aj_clock_mark(&grid->clock, instant) : instant;
}

/* The instant of a boundary. */
static TimestampTz
instant_of(const AjGrid *grid, int64 boundary)
{
	if (boundary < MIN_TIMESTAMP - MARGIN)
		return DT_NOBEGIN;
	if (boundary >= END_TIMESTAMP + MARGIN)
		return DT_NOEND;
	if (grid->local)
		boundary = aj_clock_first_shown(&grid->clock, boundary);
	if (boundary < MIN_TIMESTAMP)
		return DT_NOBEGIN;
	return boundary < END_TIMESTAMP ? boundary : DT_NOEND;
}

/*
 * aj_grid_start
 *		The last boundary that is not later than "instant".
 */
TimestampTz
aj_grid_start(AjGrid *grid, TimestampTz instant)
{
	if (TIMESTAMP_NOT_FINITE(instant))
		return instant;
	return instant_of(grid, aj_grid_floor(grid, counted(grid, instant)));
}

/*
 * aj_grid_end
 *		The first boundary that is later than "instant".
 */
TimestampTz
aj_grid_end(AjGrid *grid, TimestampTz instant)
{
	if (TIMESTAMP_NOT_FINITE(instant))
		return instant;
	return instant_of(grid, grid_next(grid, counted(grid, instant)));
}
