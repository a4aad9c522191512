/*-------------------------------------------------------------------------
 *
 * next_slot.c
 *	  The next planned instant of a schedule in a time zone.
 *
 * A zone's clock on the wall runs with the true time but for jumps.  What a
 * jump does to a schedule depends on what the schedule is made of:
 *
 * Fixed local times (cron with a restricted hour, days and longer steps, "at")
 * fall due when the clock first shows them or something later.  So a time that
 * is skipped falls due at the first instant behind the gap, one that comes
 * twice at its first coming, and several that share an instant give one slot.
 * With the "mark" of an instant being the latest local time that the clock has
 * shown up to then, a time is due later than the instant just if it is beyond
 * its mark: this one comparison is all there is to the rule.
 *
 * Cron with an hour field that spans the day follows the clock: it is due at
 * each instant whose local time matches, however often the clock shows it.
 * Steps of hours, minutes and seconds count true time from their origin.
 *
 * Cost: a constant number of zone look-ups, each a binary search, however far
 * away the slot is.  A jump never reaches farther than two OFFSET_LIMITs, so
 * that looking back or ahead by WINDOW finds all that matter.
 *
 * Pure: allocates nothing, raises no error, reads no catalog.  The rules with
 * examples: doc/dev/dst.md
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/next_slot.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "time/next_slot.h"

/* No zone is farther from UTC: the database's widest is below 16 hours. */
#define OFFSET_LIMIT ((int64) 26 * SECS_PER_HOUR)
#define WINDOW ((int64) 3 * SECS_PER_DAY)

#define EPOCH_SHIFT \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* Seconds since 1970 in true time, the bounds of timestamptz. */
#define FIRST_INSTANT (MIN_TIMESTAMP / USECS_PER_SEC + EPOCH_SHIFT)
#define END_INSTANT (END_TIMESTAMP / USECS_PER_SEC + EPOCH_SHIFT)

StaticAssertDecl(WINDOW > 2 * OFFSET_LIMIT, "window must hold every jump");

/* A stretch of true time in which the offset from UTC does not change. */
typedef struct Segment
{
	pg_time_t begin; /* where it was asked for, not its true begin */
	pg_time_t end;	 /* first second behind it; PG_INT64_MAX if none */
	int64 offset;	 /* local time minus true time */
} Segment;

static int64
floor_div(int64 number, int64 divisor)
{
	int64 quotient = number / divisor;

	return (number % divisor < 0) ? quotient - 1 : quotient;
}

/* The segment that holds the instant "at". */
static Segment
segment_at(const pg_tz *zone, pg_time_t at)
{
	Segment segment = {at, PG_INT64_MAX, 0};
	long int before = 0;
	long int later;
	int before_dst;
	int later_dst;
	pg_time_t boundary;

	if (pg_next_dst_boundary(&at, &before, &before_dst, &boundary, &later,
							 &later_dst, zone) > 0)
		segment.end = boundary;
	segment.offset = before;
	return segment;
}

/*
 * The latest local time that the clock has shown up to "at".  *segment
 * becomes the one that holds "at".
 */
static int64
clock_mark(const pg_tz *zone, pg_time_t at, Segment *segment)
{
	int64 mark = PG_INT64_MIN;

	*segment = segment_at(zone, at - WINDOW);
	while (segment->end <= at)
	{
		mark = Max(mark, segment->end - 1 + segment->offset);
		*segment = segment_at(zone, segment->end);
	}
	return Max(mark, at + segment->offset);
}

/*
 * The first instant at which the clock shows "local" or something later.
 * The clock must not have shown that before "segment", where to look first.
 */
static pg_time_t
first_shown(const pg_tz *zone, int64 local, Segment segment)
{
	if (segment.end < local - WINDOW)
		segment = segment_at(zone, local - WINDOW);
	while (segment.end <= local - segment.offset)
		segment = segment_at(zone, segment.end);
	return Max(local - segment.offset, segment.begin);
}

/* The same if nothing is known yet. */
static pg_time_t
instant_of(const pg_tz *zone, int64 local)
{
	return first_shown(zone, local, segment_at(zone, local - WINDOW));
}

/* Cron whose hour field spans the day: follow the clock through its jumps. */
static bool
next_elapsed(const AjCron *cron, const pg_tz *zone, pg_time_t after,
			 pg_time_t *next)
{
	pg_time_t from = after + 1;

	while (from < END_INSTANT)
	{
		Segment segment = segment_at(zone, from);
		int64 local;

		if (!aj_cron_next(cron, from + segment.offset, &local))
			return false;
		*next = local - segment.offset;
		if (*next < segment.end)
			return true;

		/*
		 * Nothing in this segment.  If it is longer than any jump, the clock
		 * will not show again what it has shown, and nothing matches before
		 * "local": skip what can't reach it.
		 */
		if (segment.end - from >= WINDOW)
			from = Max(segment.end, local - WINDOW);
		else
			from = segment.end;
	}
	return false;
}

/* Cron with fixed times. */
static bool
next_fixed(const AjCron *cron, const pg_tz *zone, pg_time_t after,
		   pg_time_t *next)
{
	Segment segment;
	int64 mark = clock_mark(zone, after, &segment);
	int64 local;

	if (!aj_cron_next(cron, mark + 1, &local))
		return false;
	*next = first_shown(zone, local, segment);
	return true;
}

static bool
next_cron(const AjSchedule *schedule, const pg_tz *zone, pg_time_t after,
		  pg_time_t *next)
{
	if (schedule->cron.elapsed)
		return next_elapsed(&schedule->cron, zone, after, next);
	return next_fixed(&schedule->cron, zone, after, next);
}

/*
 * "local" moved by whole months.  A day that the month does not have becomes
 * its last.
 */
static int64
add_months(int64 local, int64 months)
{
	int64 day = floor_div(local, SECS_PER_DAY);
	int year;
	int month;
	int month_day;
	int64 total;

	j2date((int) day + UNIX_EPOCH_JDATE, &year, &month, &month_day);
	total = (int64) year * MONTHS_PER_YEAR + month - 1 + months;
	year = (int) floor_div(total, MONTHS_PER_YEAR);
	month = (int) (total - (int64) year * MONTHS_PER_YEAR) + 1;
	month_day = Min(month_day, day_tab[isleap(year)][month - 1]);
	return local +
		SECS_PER_DAY *
		(date2j(year, month, month_day) - UNIX_EPOCH_JDATE - day);
}

/* The number of the month that holds "local", counted without years. */
static int64
month_number(int64 local)
{
	int64 day = floor_div(local, SECS_PER_DAY) + UNIX_EPOCH_JDATE;
	int year;
	int month;
	int month_day;

	j2date((int) Max(day, 0), &year, &month, &month_day);
	return (int64) year * MONTHS_PER_YEAR + month;
}

/* The first local time of a grid of days or months that is beyond "mark". */
static int64
next_on_calendar(const AjSchedule *schedule, int64 mark)
{
	const AjStep *step = &schedule->step;
	int64 seconds = (int64) step->days * SECS_PER_DAY;
	int64 origin = schedule->local;
	int64 count;
	int64 local;

	if (schedule->has_origin && mark < origin)
		return origin;
	if (step->days > 0)
		return origin + (floor_div(mark - origin, seconds) + 1) * seconds;

	/* The month of "mark" may still have a point of the grid beyond it. */
	count = floor_div(month_number(mark) - month_number(origin), step->months);
	local = add_months(origin, count * step->months);
	if (local <= mark)
		local = add_months(origin, (count + 1) * step->months);
	return local;
}

static bool
next_every(const AjSchedule *schedule, const pg_tz *zone, pg_time_t after,
		   pg_time_t *next)
{
	int64 seconds = schedule->step.seconds;
	Segment segment;

	if (seconds == 0)
	{
		int64 mark = clock_mark(zone, after, &segment);

		*next = first_shown(zone, next_on_calendar(schedule, mark), segment);
		return true;
	}
	*next = instant_of(zone, schedule->local);
	if (!schedule->has_origin || *next <= after)
		*next += (floor_div(after - *next, seconds) + 1) * seconds;
	return true;
}

static bool
next_at(const AjSchedule *schedule, const pg_tz *zone, pg_time_t after,
		pg_time_t *next)
{
	*next = instant_of(zone, schedule->local);
	return *next > after;
}

/* Whole months on the clock, for "after 1 month". */
static bool
next_after(const AjSchedule *schedule, const pg_tz *zone, pg_time_t after,
		   pg_time_t *next)
{
	const AjStep *step = &schedule->step;
	int64 local;

	*next = after + step->seconds + (int64) step->days * SECS_PER_DAY;
	if (step->months == 0)
		return true;
	local = after + segment_at(zone, after).offset;
	*next = instant_of(zone, add_months(local, step->months));
	return true;
}

static bool
next_start(const AjSchedule *schedule, const pg_tz *zone, pg_time_t after,
		   pg_time_t *next)
{
	return false;
}

/*
 * aj_next_slot
 *		Find the first slot that is later than "after".
 *
 * "after" itself never counts, so that feeding the result back in walks
 * through the schedule without repeating.  For AJ_SCHEDULE_AFTER it is the
 * end of the last run, whose fraction of a second is kept; all other slots
 * are whole seconds.  -infinity stands for the earliest timestamp.
 *
 * Returns false and leaves *next alone if there is no such slot: behind the
 * last timestamp, an "at" that is past, @start.  "schedule" must come from
 * aj_schedule_parse() and "zone" from aj_zone_lookup().  Allocates nothing
 * and raises no error, so it may be called without a transaction.
 */
bool
aj_next_slot(const AjSchedule *schedule, pg_tz *zone, TimestampTz after,
			 TimestampTz *next)
{
	static bool (*const next_of_kind[])(const AjSchedule *, const pg_tz *,
										pg_time_t, pg_time_t *) = {
		[AJ_SCHEDULE_CRON] = next_cron,	  [AJ_SCHEDULE_EVERY] = next_every,
		[AJ_SCHEDULE_AFTER] = next_after, [AJ_SCHEDULE_AT] = next_at,
		[AJ_SCHEDULE_START] = next_start,
	};
	pg_time_t seconds;
	pg_time_t slot;

	if (after >= END_TIMESTAMP)
		return false;
	after = Max(after, MIN_TIMESTAMP - 1);
	seconds = floor_div(after, USECS_PER_SEC) + EPOCH_SHIFT;
	if (!next_of_kind[schedule->kind](schedule, zone, seconds, &slot))
		return false;
	if (slot < FIRST_INSTANT || slot >= END_INSTANT)
		return false;
	*next = (slot - EPOCH_SHIFT) * USECS_PER_SEC;
	if (schedule->kind == AJ_SCHEDULE_AFTER)
		*next += after - (seconds - EPOCH_SHIFT) * USECS_PER_SEC;
	return true;
}
