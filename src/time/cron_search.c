/*-------------------------------------------------------------------------
 *
 * cron_search.c
 *	  Find the local times that the fields of a cron schedule match.
 *
 * This is the proleptic Gregorian calendar alone; time zones are the matter of
 * next_slot.c.  A local time is the number of seconds from 1970-01-01 00:00 to
 * what the clock on the wall shows.
 *
 * The search takes the date first, month by month with the days of a month as
 * one set of bits, and then the time of day.  A schedule that matches nothing
 * within 400 years, after which the calendar repeats, never matches.
 *
 * Pure: no state, no allocation, no ereport.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/cron_search.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "datatype/timestamp.h"
#include "utils/datetime.h"

#include "time/cron.h"

/* Date and weekday repeat after this many years (146097 days, 20871 weeks). */
#define CALENDAR_YEARS 400

#define FIRST_LOCAL_DAY (-UNIX_EPOCH_JDATE)

/* Clocks may be ahead of the last timestamp by some hours. */
#define LAST_LOCAL_DAY (TIMESTAMP_END_JULIAN - UNIX_EPOCH_JDATE + 3)

/* A set of weekdays laid out over a month that begins on "first". */
static uint32
spread_weekdays(uint8 weekdays, int first)
{
	uint64 week = ((weekdays >> first) | (weekdays << (7 - first))) & 0x7f;
	uint64 month = week | week << 7 | week << 14 | week << 21 | week << 28;

	return (uint32) (month << 1);
}

/* The days of one month that match, as bits from 1 on. */
static uint32
matching_days(const AjCron *cron, int year, int month)
{
	int first = date2j(year, month, 1);
	int length =
		(month < 12 ? date2j(year, month + 1, 1) : date2j(year + 1, 1, 1)) -
		first;
	uint32 all = (uint32) ((UINT64CONST(1) << (length + 1)) - 2);
	uint32 last_week = all & ~((UINT64CONST(1) << (length - 6)) - 1);
	uint32 by_date = cron->days;
	uint32 by_weekday = spread_weekdays(cron->weekdays, j2day(first));

	if (cron->last_day)
		by_date |= UINT32_C(1) << length;
	by_weekday |=
		last_week & spread_weekdays(cron->last_weekdays, j2day(first));
	if (cron->any_day || cron->any_weekday)
		return all & by_date & by_weekday;
	return all & (by_date | by_weekday);
}

/* The first matching day that is not before "day" (days since 1970). */
static bool
next_day(const AjCron *cron, int day, int *found)
{
	int year;
	int month;
	int month_day;
	int last_year;

	j2date(day + UNIX_EPOCH_JDATE, &year, &month, &month_day);
	last_year = year + CALENDAR_YEARS;
	while (year <= last_year)
	{
		int next_month = aj_next_bit(cron->months, month);

		if (next_month < 0)
		{
			year++;
			month = month_day = 1;
			continue;
		}
		if (next_month > month)
			month_day = 1;
		month = next_month;
		month_day = aj_next_bit(matching_days(cron, year, month), month_day);
		if (month_day > 0)
		{
			*found = date2j(year, month, month_day) - UNIX_EPOCH_JDATE;
			return true;
		}
		month++;
		month_day = 1;
	}
	return false;
}

/* The first matching time of day that is not before "time", in seconds. */
static bool
next_time(const AjCron *cron, int time, int *found)
{
	int hour = time / SECS_PER_HOUR;
	int minute = time / SECS_PER_MINUTE % MINS_PER_HOUR;
	int second = time % SECS_PER_MINUTE;

	if ((cron->hours >> hour & 1) == 0)
		minute = second = 0;
	else if ((cron->minutes >> minute & 1) == 0)
		second = 0;

	/* From the finest field up: where none is left, the coarser one moves. */
	hour = aj_next_bit(cron->hours, hour);
	if (hour < 0)
		return false;
	second = aj_next_bit(cron->seconds, second);
	minute = aj_next_bit(cron->minutes, second < 0 ? minute + 1 : minute);
	if (minute < 0)
	{
		hour = aj_next_bit(cron->hours, hour + 1);
		if (hour < 0)
			return false;
		minute = aj_next_bit(cron->minutes, 0);
		second = -1;
	}
	if (second < 0)
		second = aj_next_bit(cron->seconds, 0);
	*found = (hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second;
	return true;
}

/*
 * aj_cron_next
 *		Find the first local time that matches and is not before "from".
 *
 * Returns false and leaves *local alone if there is none before the end of
 * the calendar that timestamptz knows.
 */
bool
aj_cron_next(const AjCron *cron, int64 from, int64 *local)
{
	int64 first = Max(from, (int64) FIRST_LOCAL_DAY * SECS_PER_DAY);
	int64 from_day =
		(first - (int64) FIRST_LOCAL_DAY * SECS_PER_DAY) / SECS_PER_DAY +
		FIRST_LOCAL_DAY;
	int day;
	int time;

	if (from_day > LAST_LOCAL_DAY)
		return false;
	if (!next_day(cron, (int) from_day, &day))
		return false;
	if (day > from_day ||
		!next_time(cron, (int) (first - from_day * SECS_PER_DAY), &time))
	{
		if (day == from_day && !next_day(cron, day + 1, &day))
			return false;
		if (!next_time(cron, 0, &time))
			return false;
	}
	*local = (int64) day * SECS_PER_DAY + time;
	return true;
}
