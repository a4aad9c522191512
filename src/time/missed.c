/*-------------------------------------------------------------------------
 *
 * missed.c
 *	  How many slots there are in a stretch of time, and which is the last.
 *
 * After years of downtime nobody wants to walk through millions of slots.  The
 * last one is found by bisection, as "the next slot after t is not later than
 * u" is true up to it and false from it on.  Grids of true time are counted by
 * division.  Cron is counted by days of the clock on the wall: each day that
 * matches has as many times as its hour, minute and second fields multiply to.
 *
 * What jumps of the clock do is as in next_slot.c.  Fixed times fall due when
 * the mark of the clock reaches them, so that all that the mark passes in one
 * jump is one slot.  Cron that follows the clock counts what it shows between
 * its jumps.
 *
 * Pure: allocates nothing, raises no error, reads no catalog.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/missed.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "time/missed.h"
#include "time/wall_clock.h"
#include "utils/timestamp.h"

#define EPOCH_SHIFT \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

static int64
floor_div(int64 number, int64 divisor)
{
	int64 quotient = number / divisor;

	return (number % divisor < 0) ? quotient - 1 : quotient;
}

/* Microseconds since 2000 as the whole seconds since 1970 that cron counts. */
static int64
seconds_of(int64 microseconds)
{
	return floor_div(microseconds, USECS_PER_SEC) + EPOCH_SHIFT;
}

/* How many bits are set in "set" below bit "end". */
static int
bits_below(uint64 set, int end)
{
	return __builtin_popcountll(set & ((UINT64CONST(1) << end) - 1));
}

/* How many times of a day match that are not later than "last"; -1: none. */
static int64
times_upto(const AjCron *cron, int last)
{
	int hour = last / SECS_PER_HOUR;
	int minute = last % SECS_PER_HOUR / SECS_PER_MINUTE;
	int second = last % SECS_PER_MINUTE;
	int64 per_minute = __builtin_popcountll(cron->seconds);
	int64 per_hour = per_minute * __builtin_popcountll(cron->minutes);
	int64 n;

	if (last < 0)
		return 0;
	n = bits_below(cron->hours, hour) * per_hour;
	if ((cron->hours >> hour & 1) == 0)
		return n;
	n += bits_below(cron->minutes, minute) * per_minute;
	if ((cron->minutes >> minute & 1) == 0)
		return n;
	return n + bits_below(cron->seconds, second + 1);
}

/* How many local times match from "from" to "to", both included. */
static int64
count_local(const AjCron *cron, int64 from, int64 to)
{
	int64 n = 0;
	int64 local;

	while (from <= to && aj_cron_next(cron, from, &local) && local <= to)
	{
		int64 midnight = floor_div(local, SECS_PER_DAY) * SECS_PER_DAY;
		int64 last = Min(to - midnight, SECS_PER_DAY - 1);

		n += times_upto(cron, (int) last) -
			times_upto(cron, (int) (local - midnight) - 1);
		from = midnight + SECS_PER_DAY;
	}
	return n;
}

/* Cron whose hour field spans the day: what the clock shows between jumps. */
static int64
count_elapsed(const AjCron *cron, const AjClock *clock, TimestampTz after,
			  TimestampTz upto)
{
	TimestampTz from = after + USECS_PER_SEC;
	int64 n = 0;

	while (from <= upto)
	{
		int64 offset = aj_clock_shows(clock, from) - from;
		TimestampTz jump = aj_clock_next_jump(clock, from);
		TimestampTz last = jump > upto ? upto : Min(upto, jump - USECS_PER_SEC);

		n += count_local(cron, seconds_of(from + offset),
						 seconds_of(last + offset));
		if (jump > upto)
			break;
		from = jump;
	}
	return n;
}

/* Cron with fixed times: what the mark passes, a jump being one instant. */
static int64
count_fixed(const AjCron *cron, AjClock *clock, TimestampTz after,
			TimestampTz upto)
{
	int64 n = count_local(cron, seconds_of(aj_clock_mark(clock, after)) + 1,
						  seconds_of(aj_clock_mark(clock, upto)));
	TimestampTz jump = aj_clock_next_jump(clock, after);

	for (; jump <= upto; jump = aj_clock_next_jump(clock, jump))
	{
		int64 before = seconds_of(aj_clock_mark(clock, jump - USECS_PER_SEC));
		int64 in_jump = count_local(cron, before + 1,
									seconds_of(aj_clock_mark(clock, jump)));

		if (in_jump > 1)
			n -= in_jump - 1;
	}
	return n;
}

/* One by one: for what comes once a day at most. */
static int64
count_singly(const AjSchedule *schedule, pg_tz *zone, TimestampTz after,
			 TimestampTz upto)
{
	int64 n = 0;

	while (aj_next_slot(schedule, zone, after, &after) && after <= upto)
		n++;
	return n;
}

/*
 * aj_count_slots
 *		How many slots are later than "after" and not later than "upto".
 *
 * Schedules without a sequence of slots (@start, and "after", which counts
 * from the ends of runs) have none.
 */
int64
aj_count_slots(const AjSchedule *schedule, pg_tz *zone, TimestampTz after,
			   TimestampTz upto)
{
	TimestampTz first;
	AjClock clock;

	if (schedule->kind == AJ_SCHEDULE_AFTER ||
		schedule->kind == AJ_SCHEDULE_START ||
		!aj_next_slot(schedule, zone, after, &first) || first > upto)
		return 0;
	if (schedule->kind == AJ_SCHEDULE_EVERY && schedule->step.seconds > 0)
		return 1 + (upto - first) / USECS_PER_SEC / schedule->step.seconds;
	if (schedule->kind != AJ_SCHEDULE_CRON)
		return count_singly(schedule, zone, after, upto);

	/* Slots are whole seconds; from just before the first it is the same. */
	after = first - USECS_PER_SEC;
	upto =
		floor_div(Min(upto, END_TIMESTAMP - 1), USECS_PER_SEC) * USECS_PER_SEC;
	aj_clock_set(&clock, zone);
	if (schedule->cron.elapsed)
		return count_elapsed(&schedule->cron, &clock, after, upto);
	return count_fixed(&schedule->cron, &clock, after, upto);
}

/*
 * aj_previous_slot
 *		Find the last slot that is later than "after" and not later than
 *		"upto"; false, and *slot left alone, if there is none.
 */
bool
aj_previous_slot(const AjSchedule *schedule, pg_tz *zone, TimestampTz after,
				 TimestampTz upto, TimestampTz *slot)
{
	TimestampTz known;
	TimestampTz beyond = upto;
	TimestampTz next;

	if (!aj_next_slot(schedule, zone, after, &known) || known > upto)
		return false;
	while (known < beyond)
	{
		TimestampTz middle = known + (beyond - known) / 2;

		if (aj_next_slot(schedule, zone, middle, &next) && next <= upto)
			known = next;
		else
			beyond = middle;
	}
	*slot = known;
	return true;
}
