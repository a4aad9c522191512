/*-------------------------------------------------------------------------
 *
 * schedule_explain.c
 *	  Say in plain English when a schedule is due.
 *
 * For people who want to be sure that they wrote what they meant.  Times of day
 * are written out when there are few; else each field is described by itself,
 * as all, a regular step, a range or a list.
 *
 * Text is allocated in the current memory context.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/schedule_explain.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "lib/stringinfo.h"
#include "port/pg_bitutils.h"
#include "utils/datetime.h"

#include "time/schedule.h"

/* At most so many times of day are written out one by one. */
#define LISTED_TIMES 6

static const char *const month_names[] = {
	"",		"January", "February",	"March",   "April",	   "May",	  "June",
	"July", "August",  "September", "October", "November", "December"};
static const char *const weekday_names[] = {"Sunday",	 "Monday",	 "Tuesday",
											"Wednesday", "Thursday", "Friday",
											"Saturday"};

/* What an element of a list is: writes one number in words. */
typedef void (*Speller)(StringInfo out, int number);

static void
spell_number(StringInfo out, int number)
{
	appendStringInfo(out, "%d", number);
}

static void
spell_ordinal(StringInfo out, int number)
{
	static const char *const endings[] = {"th", "st", "nd", "rd"};
	int last = (number / 10 == 1) ? 0 : number % 10;

	appendStringInfo(out, "%d%s", number, endings[last < 4 ? last : 0]);
}

static void
spell_month(StringInfo out, int number)
{
	appendStringInfoString(out, month_names[number]);
}

static void
spell_weekday(StringInfo out, int number)
{
	appendStringInfoString(out, weekday_names[number]);
}

/* Is this just the bits from the lowest to the highest? */
static bool
is_range(uint64 set)
{
	uint64 ones = set >> aj_next_bit(set, 0);

	return (ones & (ones + 1)) == 0;
}

/* The distance of bits that run from "low" to "high" in even steps, or 0. */
static int
regular_step(uint64 set, int low, int high)
{
	int step = aj_next_bit(set, low + 1) - low;
	uint64 expected = 0;

	if (step < 2 || pg_popcount64(set) < 3)
		return 0;
	for (int bit = low; bit <= high; bit += step)
		expected |= UINT64CONST(1) << bit;
	return set == expected ? step : 0;
}

/* "1, 2 and 5", or "3 to 7" for a range of three and more. */
static void
spell_set(StringInfo out, uint64 set, Speller spell)
{
	int bit = aj_next_bit(set, 0);
	int left = pg_popcount64(set);

	if (left > 2 && is_range(set))
	{
		spell(out, bit);
		appendStringInfoString(out, " to ");
		spell(out, bit + left - 1);
		return;
	}
	for (; bit >= 0; bit = aj_next_bit(set, bit + 1))
	{
		spell(out, bit);
		if (--left > 0)
			appendStringInfoString(out, left > 1 ? ", " : " and ");
	}
}

/* "every minute", "every 7th minute", "minute 5" or "minutes 5 and 10". */
static void
spell_field(StringInfo out, const char *unit, uint64 set, int high)
{
	int step = regular_step(set, 0, high);

	if (pg_popcount64(set) > high)
		appendStringInfo(out, "every %s", unit);
	else if (step > 0)
	{
		appendStringInfoString(out, "every ");
		spell_ordinal(out, step);
		appendStringInfo(out, " %s", unit);
	}
	else
	{
		appendStringInfo(out, pg_popcount64(set) > 1 ? "%ss " : "%s ", unit);
		spell_set(out, set, spell_number);
	}
}

/* "at 00:05, 06:05 and 12:05"; the caller has seen that they are few. */
static void
spell_clock_times(StringInfo out, const AjCron *cron)
{
	int left = pg_popcount64(cron->hours) * pg_popcount64(cron->minutes);
	int second = aj_next_bit(cron->seconds, 0);

	appendStringInfoString(out, "at ");
	for (int hour = aj_next_bit(cron->hours, 0); hour >= 0;
		 hour = aj_next_bit(cron->hours, hour + 1))
	{
		for (int minute = aj_next_bit(cron->minutes, 0); minute >= 0;
			 minute = aj_next_bit(cron->minutes, minute + 1))
		{
			appendStringInfo(out, "%02d:%02d", hour, minute);
			if (second > 0)
				appendStringInfo(out, ":%02d", second);
			if (--left > 0)
				appendStringInfoString(out, left > 1 ? ", " : " and ");
		}
	}
}

/* "every 5 minutes", if the field is a grid that hours do not interrupt. */
static bool
spell_even_grid(StringInfo out, const char *unit, uint64 set)
{
	int step = regular_step(set, 0, 59);

	if (set == (UINT64CONST(1) << 60) - 1)
		appendStringInfo(out, "every %s", unit);
	else if (step > 0 && 60 % step == 0)
		appendStringInfo(out, "every %d %ss", step, unit);
	else
		return false;
	return true;
}

/* The time of day; true if a day needs no mention. */
static bool
spell_time(StringInfo out, const AjCron *cron)
{
	bool all_hours = pg_popcount64(cron->hours) == 24;
	bool all_minutes = pg_popcount64(cron->minutes) == 60;
	bool one_second = pg_popcount64(cron->seconds) == 1;

	if (one_second &&
		pg_popcount64(cron->hours) * pg_popcount64(cron->minutes) <=
			LISTED_TIMES)
	{
		spell_clock_times(out, cron);
		return false;
	}
	if (all_hours && cron->seconds == 1 &&
		spell_even_grid(out, "minute", cron->minutes))
		return true;
	if (all_hours && all_minutes &&
		spell_even_grid(out, "second", cron->seconds))
		return true;
	appendStringInfoString(out, "at ");
	if (cron->seconds != 1)
	{
		spell_field(out, "second", cron->seconds, 59);
		appendStringInfoString(out, " of ");
	}
	spell_field(out, "minute", cron->minutes, 59);
	appendStringInfoString(out, " of ");
	spell_field(out, "hour", cron->hours, 23);
	return all_hours;
}

static void
spell_month_days(StringInfo out, const AjCron *cron)
{
	appendStringInfoString(out, "on the ");
	if (cron->days != 0)
		spell_set(out, cron->days, spell_ordinal);
	if (cron->days != 0 && cron->last_day)
		appendStringInfoString(out, " and the ");
	if (cron->last_day)
		appendStringInfoString(out, "last day");
	appendStringInfoString(out, " of the month");
}

static void
spell_weekdays(StringInfo out, const AjCron *cron)
{
	appendStringInfoString(out, "on ");
	if (cron->weekdays != 0)
		spell_set(out, cron->weekdays, spell_weekday);
	if (cron->weekdays != 0 && cron->last_weekdays != 0)
		appendStringInfoString(out, " and on ");
	if (cron->last_weekdays != 0)
	{
		appendStringInfoString(out, "the last ");
		spell_set(out, cron->last_weekdays, spell_weekday);
		appendStringInfoString(out, " of the month");
	}
}

static void
spell_days(StringInfo out, const AjCron *cron, bool day_is_clear)
{
	bool all_days = cron->days == 0xfffffffe;
	bool all_weekdays = cron->weekdays == 0x7f;
	bool either = !cron->any_day && !cron->any_weekday;

	if ((all_days && all_weekdays) || (either && (all_days || all_weekdays)))
	{
		if (!day_is_clear)
			appendStringInfoString(out, " every day");
		return;
	}
	appendStringInfoChar(out, ' ');
	if (!all_days)
		spell_month_days(out, cron);
	if (!all_days && !all_weekdays)
		appendStringInfoString(out, either ? " and also " : ", but only ");
	if (!all_weekdays)
		spell_weekdays(out, cron);
}

static void
explain_cron(StringInfo out, const AjSchedule *schedule)
{
	const AjCron *cron = &schedule->cron;
	bool day_is_clear = spell_time(out, cron);

	spell_days(out, cron, day_is_clear);
	if (pg_popcount64(cron->months) < MONTHS_PER_YEAR)
	{
		appendStringInfoString(out, " in ");
		spell_set(out, cron->months, spell_month);
	}
}

/* Units from large to small; a larger one is used where it goes in evenly. */
typedef struct StepUnit
{
	const char *name;
	int size;
} StepUnit;

static void
spell_units(StringInfo out, int64 total, const StepUnit *units, bool alone)
{
	for (; total > 0; units++)
	{
		int64 count = total / units->size;

		if (count == 0)
			continue;
		total %= units->size;
		if (count == 1 && total == 0 && alone)
			appendStringInfo(out, " %s", units->name);
		else
			appendStringInfo(out, " " INT64_FORMAT " %s%s", count, units->name,
							 count > 1 ? "s" : "");
		alone = false;
	}
}

/* " 1 hour 30 minutes", " 2 weeks"; just the unit for one if "alone". */
static void
spell_step(StringInfo out, const AjStep *step, bool alone)
{
	static const StepUnit seconds[] = {{"hour", SECS_PER_HOUR},
									   {"minute", SECS_PER_MINUTE},
									   {"second", 1}};
	static const StepUnit days[] = {{"week", 7}, {"day", 1}};
	static const StepUnit months[] = {{"year", MONTHS_PER_YEAR}, {"month", 1}};

	spell_units(out, step->seconds, seconds, alone);
	spell_units(out, step->days, days, alone);
	spell_units(out, step->months, months, alone);
}

/* " 2026-01-01 00:10", with seconds if there are any. */
static void
spell_local(StringInfo out, int64 local)
{
	int year;
	int month;
	int day;
	int64 days = local / SECS_PER_DAY;
	int64 time = local % SECS_PER_DAY;

	if (time < 0)
	{
		time += SECS_PER_DAY;
		days--;
	}
	j2date((int) days + UNIX_EPOCH_JDATE, &year, &month, &day);
	appendStringInfo(out, " %04d-%02d-%02d %02d:%02d", year, month, day,
					 (int) time / SECS_PER_HOUR,
					 (int) time / SECS_PER_MINUTE % MINS_PER_HOUR);
	if (time % SECS_PER_MINUTE != 0)
		appendStringInfo(out, ":%02d", (int) time % SECS_PER_MINUTE);
}

static void
explain_every(StringInfo out, const AjSchedule *schedule)
{
	appendStringInfoString(out, "every");
	spell_step(out, &schedule->step, true);
	if (!schedule->has_origin)
		return;
	appendStringInfoString(out, " from");
	spell_local(out, schedule->local);
	appendStringInfoString(out, " on");
}

static void
explain_after(StringInfo out, const AjSchedule *schedule)
{
	StringInfoData step;

	initStringInfo(&step);
	spell_step(&step, &schedule->step, false);
	appendStringInfo(out, "%s after the end of the last run", step.data + 1);
}

static void
explain_at(StringInfo out, const AjSchedule *schedule)
{
	appendStringInfoString(out, "once at");
	spell_local(out, schedule->local);
}

static void
explain_start(StringInfo out, const AjSchedule *schedule)
{
	appendStringInfoString(out, "each time the scheduler starts");
}

/*
 * aj_schedule_explain
 *		A sentence that says when the schedule is due, without the zone.
 */
char *
aj_schedule_explain(const AjSchedule *schedule)
{
	static void (*const explain[])(StringInfo, const AjSchedule *) = {
		[AJ_SCHEDULE_CRON] = explain_cron,
		[AJ_SCHEDULE_EVERY] = explain_every,
		[AJ_SCHEDULE_AFTER] = explain_after,
		[AJ_SCHEDULE_AT] = explain_at,
		[AJ_SCHEDULE_START] = explain_start,
	};
	StringInfoData out;

	initStringInfo(&out);
	explain[schedule->kind](&out, schedule);
	return out.data;
}
