/*-------------------------------------------------------------------------
 *
 * wall_clock.c
 *	  What the clock on a wall in some time zone shows, and when.
 *
 * Instants and what is shown are both microseconds: the one on the axis of
 * timestamptz, the other as if the zone were UTC.
 *
 * A clock may be put back, so the time that it shows does not rise throughout.
 * Its "mark", the latest time that it has shown up to an instant, does.  What
 * begins when the mark reaches a time therefore begins once, and ends once.
 *
 * A jump never reaches farther than two OFFSET_LIMITs, so that looking back or
 * ahead by WINDOW finds all that matter.  Each look-up is a binary search; the
 * calm stretch found last saves most of them.
 *
 * Pure: allocates nothing, raises no error, reads no catalog.  next_slot.c
 * has the same idea in whole seconds.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/wall_clock.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "utils/timestamp.h"

#include "time/wall_clock.h"

/* No zone is farther from UTC: the database's widest is below 16 hours. */
#define OFFSET_LIMIT (26 * USECS_PER_HOUR)
#define WINDOW (3 * USECS_PER_DAY)

/* Most zones that jump do so twice a year: this far back, one is found. */
#define LOOK_BACK (400 * USECS_PER_DAY)

#define EPOCH_SHIFT \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

StaticAssertDecl(WINDOW > 2 * OFFSET_LIMIT, "window must hold every jump");

/* A stretch of true time in which the offset from UTC does not change. */
typedef struct Segment
{
	TimestampTz begin; /* where it was asked for, not its true begin */
	TimestampTz end;   /* first instant behind it; DT_NOEND if none */
	int64 offset;
} Segment;

/* Whole seconds since 1970, as the server's zone functions count. */
static pg_time_t
unix_seconds(TimestampTz at)
{
	int64 seconds = at / USECS_PER_SEC;

	return seconds - (at % USECS_PER_SEC < 0 ? 1 : 0) + EPOCH_SHIFT;
}

/*
 * The next jump later than "seconds", if there is one, and the offset there.
 *
 * From behind its table's last jump the server goes back by 400 years to find
 * the next, but not from that jump itself: so a second later is tried too.
 */
static bool
next_boundary(const pg_tz *zone, pg_time_t seconds, pg_time_t *boundary,
			  long int *offset)
{
	long int later;
	int dst;
	int later_dst;

	for (pg_time_t from = seconds; from <= seconds + 1; from++)
	{
		if (pg_next_dst_boundary(&from, offset, &dst, boundary, &later,
								 &later_dst, zone) > 0)
			return true;
	}
	return false;
}

/* The segment that holds the instant "at". */
static Segment
segment_at(const pg_tz *zone, TimestampTz at)
{
	Segment segment = {at, DT_NOEND, 0};
	long int offset = 0;
	pg_time_t boundary;

	if (next_boundary(zone, unix_seconds(at), &boundary, &offset) &&
		boundary < unix_seconds(END_TIMESTAMP))
		segment.end = (boundary - EPOCH_SHIFT) * USECS_PER_SEC;
	segment.offset = offset * USECS_PER_SEC;
	return segment;
}

/*
 * aj_clock_set
 *		Make "clock" one of "zone", of which nothing is known yet.
 */
void
aj_clock_set(AjClock *clock, const pg_tz *zone)
{
	memset(clock, 0, sizeof(*clock));
	clock->zone = zone;
}

/*
 * aj_clock_shows
 *		The time shown at an instant, which must be a finite timestamp.
 */
int64
aj_clock_shows(const AjClock *clock, TimestampTz at)
{
	return at + segment_at(clock->zone, at).offset;
}

/*
 * aj_clock_mark
 *		The latest time shown up to an instant, a finite timestamp.
 */
int64
aj_clock_mark(AjClock *clock, TimestampTz at)
{
	int64 mark = PG_INT64_MIN;
	Segment segment;

	if (at >= clock->calm_begin && at < clock->calm_end)
		return at + clock->calm_offset;

	segment = segment_at(clock->zone, at - LOOK_BACK);
	while (segment.end <= at)
	{
		mark = Max(mark, segment.end - 1 + segment.offset);
		segment = segment_at(clock->zone, segment.end);
	}
	clock->calm_begin = segment.begin + WINDOW;
	clock->calm_end = segment.end;
	clock->calm_offset = segment.offset;
	return Max(mark, at + segment.offset);
}

/*
 * aj_clock_first_shown
 *		The first instant at which a time or a later one is shown.
 *
 * A time that is skipped gives the end of the gap, one that comes twice its
 * first coming.  "shown" must be within a day of the finite timestamps.
 */
TimestampTz
aj_clock_first_shown(const AjClock *clock, int64 shown)
{
	TimestampTz at = shown - clock->calm_offset;
	Segment segment;

	if (at >= clock->calm_begin && at < clock->calm_end)
		return at;

	segment = segment_at(clock->zone, shown - WINDOW);
	while (segment.end <= shown - segment.offset)
		segment = segment_at(clock->zone, segment.end);
	return Max(shown - segment.offset, segment.begin);
}

/*
 * aj_clock_next_jump
 *		The first instant later than "at" at which the clock may jump, or
 *		DT_NOEND.
 */
TimestampTz
aj_clock_next_jump(const AjClock *clock, TimestampTz at)
{
	return segment_at(clock->zone, at).end;
}
