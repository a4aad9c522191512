/*-------------------------------------------------------------------------
 *
 * minute_scan.c
 *	  An independent opinion on when schedules are due.
 *
 * Knows nothing of the server and shares no code with it: time zones are
 * those of the C library, and a schedule is evaluated by asking for each
 * minute (second, where offsets are not whole minutes) of some years whether
 * it is due, with no thought of speed but one: what a minute, an hour or a
 * day says about all schedules at once is one word of 64 bits.
 *
 * Reads lines "ZONE FIRST_YEAR END_YEAR".  Writes for each stretch of time
 * and schedule: zone, schedule, first second, end, number of slots, and two
 * digests of them, separated by tabs.  test/oracle/run compares these with
 * the server's answer.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/oracle/minute_scan.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define DAY 86400
#define MOST_SLOTS 9999

/* Where a schedule is tried. */
enum
{
	SPARSE, /* over all years */
	DENSE,	/* some days around each jump of the clock */
	SECONDS /* some hours around each jump */
};

/*
 * What a schedule is: cron text, or a step and an origin.  Cron is "loose" if
 * its hours follow the clock wherever it jumps; this is stated here by hand,
 * not derived from the text.
 */
typedef struct
{
	const char *text;
	int extent;
	bool loose;
	int step_seconds, step_days, step_months;
	const char *origin;
} Schedule;

static const Schedule schedules[] = {
	{"0 0 * * *", SPARSE},
	{"30 0 * * *", SPARSE},
	{"30 1 * * *", SPARSE},
	{"0 2 * * *", SPARSE},
	{"15 2 * * *", SPARSE},
	{"30 2 * * *", SPARSE},
	{"0 3 * * *", SPARSE},
	{"59 23 * * *", SPARSE},
	{"0,30 0-3 * * *", SPARSE},
	{"*/30 0-2 * * *", SPARSE},
	{"5 */4 * * *", SPARSE, .loose = true},
	{"0 */3 * * *", SPARSE, .loose = true},
	{"20 0-23/4 * * *", SPARSE, .loose = true},
	{"45 * * * 0", SPARSE, .loose = true},
	{"7 * 1,15 * *", SPARSE, .loose = true},
	{"*/15 * 29 2 *", SPARSE, .loose = true},
	{"0 0 * * 0", SPARSE},
	{"0 2 * * 7", SPARSE},
	{"30 1 * * sun", SPARSE},
	{"0 0 1 * *", SPARSE},
	{"0 0 31 * *", SPARSE},
	{"0 12 29 2 *", SPARSE},
	{"30 2 L * *", SPARSE},
	{"0 0 1,L 3,6,9,12 *", SPARSE},
	{"0 2 * 3,10 0L", SPARSE},
	{"30 1 * * 7L,fril", SPARSE},
	{"0 9 13 * 5", SPARSE},
	{"0 9 */10 * 1", SPARSE},
	{"0 9 1-7 * */3", SPARSE},
	{"10-50/20 1,3,5 * jan-mar mon-fri", SPARSE},
	{"0 0 30 12 *", SPARSE},
	{"1 0 1 1 *", SPARSE},
	{"0 4-6 28-31 mar,oct,nov *", SPARSE},
	{"*/20 2 * 3-4,9-11 sat,sun", SPARSE},
	{"* * * * *", DENSE, .loose = true},
	{"*/5 * * * *", DENSE, .loose = true},
	{"*/15 1-4 * * *", DENSE},
	{"* 0-3 * * *", DENSE},
	{"10,40 */2 * * *", DENSE, .loose = true},
	{"3-59/7 0-22/2 * * *", DENSE},
	{"30 * * * * *", SECONDS, .loose = true},
	{"*/7 */10 * * * *", SECONDS, .loose = true},
	{"15,45 59 0-3 * * *", SECONDS},
	{"59 * 1-2 * * *", SECONDS},
	{"every 45 minutes", DENSE, .step_seconds = 2700,
	 .origin = "2000-01-03 00:00"},
	{"every 6 hours", SPARSE, .step_seconds = 21600,
	 .origin = "2000-01-03 00:00"},
	{"every 1 day", SPARSE, .step_days = 1, .origin = "2000-01-03 00:00"},
	{"every 2 days from 1800-01-01 02:30", SPARSE, .step_days = 2,
	 .origin = "1800-01-01 02:30"},
	{"every 2 weeks", SPARSE, .step_days = 14, .origin = "2000-01-03 00:00"},
	{"every 1 month from 1800-01-31 02:15", SPARSE, .step_months = 1,
	 .origin = "1800-01-31 02:15"},
	{"every 1 quarter", SPARSE, .step_months = 3, .origin = "2000-01-01 00:00"},
};

#define N_SCHEDULES ((int) (sizeof(schedules) / sizeof(schedules[0])))

/* For each value of a field the schedules whose field holds it. */
static uint64_t at_second[60], at_minute[60], at_hour[24];
static uint64_t loose, of_extent[3], by_steps;

/* What was found in the present stretch. */
static struct
{
	int64_t slots, total, mixed;
} found[N_SCHEDULES];

static int
days_in_month(int year, int month)
{
	if (month == 2)
		return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
	return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* The calendar's days by counting them, forth and back from 1970. */
static int64_t
day_number(int year, int month, int day)
{
	int64_t days = day - 1;

	for (int y = 1970; y < year; y++)
		days += 337 + days_in_month(y, 2);
	for (int y = year; y < 1970; y++)
		days -= 337 + days_in_month(y, 2);
	for (int m = 1; m < month; m++)
		days += days_in_month(year, m);
	return days;
}

static int
value_of(const char *word)
{
	static const char *names[] = {"sun", "mon", "tue", "wed", "thu",
								  "fri", "sat", "",	   "jan", "feb",
								  "mar", "apr", "may", "jun", "jul",
								  "aug", "sep", "oct", "nov", "dec"};

	for (int i = 0; i < 20; i++)
		if (*names[i] && strncasecmp(word, names[i], 3) == 0)
			return i < 7 ? i : i - 7;
	return atoi(word);
}

/* Does one item of a list, such as "10-40/10", hold "value"? */
static bool
item_holds(const char *item, int value, int low, int high)
{
	const char *slash = strchr(item, '/');
	const char *dash = strchr(item, '-');
	int step = slash ? atoi(slash + 1) : 1;

	if (*item != '*')
	{
		low = value_of(item);
		high = dash ? value_of(dash + 1) : low;
	}
	return value >= low && value <= high && (value - low) % step == 0;
}

/* Is "text" an item with L, and does it hold this day? */
static bool
last_holds(const char *item, bool weekday_field, int day, int length,
		   int weekday)
{
	size_t end = strlen(item) - 1;

	if (toupper(item[end]) != 'L' || strcasecmp(item, "jul") == 0)
		return false;
	if (!weekday_field)
		return day == length;
	return value_of(item) % 7 == weekday && day + 7 > length;
}

static void
cut_field(const char *text, int n, char *field)
{
	char copy[100];
	char *rest = NULL;
	char *word;

	strcpy(copy, text);
	word = strtok_r(copy, " ", &rest);
	while (n-- > 0)
		word = strtok_r(NULL, " ", &rest);
	strcpy(field, word);
}

static bool
list_holds(const char *field, int value, int low, int high)
{
	char copy[100];
	char *rest = NULL;

	strcpy(copy, field);
	for (char *item = strtok_r(copy, ",", &rest); item;
		 item = strtok_r(NULL, ",", &rest))
		if (toupper(item[strlen(item) - 1]) != 'L' &&
			item_holds(item, value, low, high))
			return true;
	return false;
}

static bool
list_holds_last(const char *field, bool weekday_field, int day, int length,
				int weekday)
{
	char copy[100];
	char *rest = NULL;

	strcpy(copy, field);
	for (char *item = strtok_r(copy, ",", &rest); item;
		 item = strtok_r(NULL, ",", &rest))
		if (last_holds(item, weekday_field, day, length, weekday))
			return true;
	return false;
}

/* Seconds since 1970 of an origin's local time. */
static int64_t
origin_of(const Schedule *s)
{
	int y, mo, d, h, mi;

	sscanf(s->origin, "%d-%d-%d %d:%d", &y, &mo, &d, &h, &mi);
	return day_number(y, mo, d) * DAY + h * 3600 + mi * 60;
}

/* The time of day of an origin. */
static int64_t
time_of(const Schedule *s)
{
	return (origin_of(s) % DAY + DAY) % DAY;
}

/* Is a schedule due on this day of the calendar? */
static bool
day_holds(const Schedule *s, int64_t number, int year, int month, int day)
{
	int length = days_in_month(year, month);
	int weekday = (int) (((number + 4) % 7 + 7) % 7);
	int skip = s->extent == SECONDS ? 1 : 0;
	char days[100], months[100], weekdays[100];
	bool by_day, by_weekday;

	if (s->step_seconds)
		return false;
	if (s->step_days)
		return (number * DAY - origin_of(s) + time_of(s)) / DAY %
			s->step_days ==
			0;
	if (s->step_months)
	{
		int oy, om, od;

		sscanf(s->origin, "%d-%d-%d", &oy, &om, &od);
		return ((year - oy) * 12 + month - om) % s->step_months == 0 &&
			day == (od < length ? od : length);
	}
	cut_field(s->text, 2 + skip, days);
	cut_field(s->text, 3 + skip, months);
	cut_field(s->text, 4 + skip, weekdays);
	if (!list_holds(months, month, 1, 12))
		return false;
	by_day = list_holds(days, day, 1, 31) ||
		list_holds_last(days, false, day, length, weekday);
	by_weekday = list_holds(weekdays, weekday, 0, 7) ||
		(weekday == 0 && list_holds(weekdays, 7, 0, 7)) ||
		list_holds_last(weekdays, true, day, length, weekday);
	return days[0] == '*' || weekdays[0] == '*' ? by_day && by_weekday
												: by_day || by_weekday;
}

/* Fill the words for seconds, minutes and hours. */
static void
prepare(void)
{
	for (int i = 0; i < N_SCHEDULES; i++)
	{
		const Schedule *s = &schedules[i];
		int skip = s->extent == SECONDS ? 1 : 0;
		uint64_t bit = UINT64_C(1) << i;
		char field[100];

		of_extent[s->extent] |= bit;
		if (s->loose)
			loose |= bit;
		if (s->step_seconds)
			by_steps |= bit;
		for (int v = 0; v < 60; v++)
		{
			if (s->origin)
			{
				int64_t time = time_of(s);

				at_second[v] |= v == 0 ? bit : 0;
				at_minute[v] |= v == time / 60 % 60 ? bit : 0;
				if (v < 24)
					at_hour[v] |= v == time / 3600 ? bit : 0;
				continue;
			}
			cut_field(s->text, 0, field);
			at_second[v] |=
				(skip ? list_holds(field, v, 0, 59) : v == 0) ? bit : 0;
			cut_field(s->text, skip, field);
			at_minute[v] |= list_holds(field, v, 0, 59) ? bit : 0;
			cut_field(s->text, 1 + skip, field);
			if (v < 24)
				at_hour[v] |= list_holds(field, v, 0, 23) ? bit : 0;
		}
	}
}

/* The zone's offset at an instant, asked for once per hour while it stands. */
static int64_t
offset_at(int64_t instant)
{
	static int64_t begin = 1, end = 0, offset;
	struct tm fields[2];

	if (instant >= begin && instant < end)
		return offset;
	for (int i = 0; i < 2; i++)
	{
		time_t t = instant + 3600 * i;

		localtime_r(&t, &fields[i]);
	}
	offset = fields[0].tm_gmtoff;
	begin = instant;
	end = fields[0].tm_gmtoff == fields[1].tm_gmtoff ? instant + 3600
													 : instant + 1;
	return offset;
}

/* The schedules whose fields hold a local time. */
static uint64_t
holding(int64_t local)
{
	static int64_t day = INT64_MIN;
	static uint64_t on_day;
	int64_t number = local / DAY - (local % DAY < 0);
	int time = (int) (local - number * DAY);

	if (number != day)
	{
		time_t t = number * DAY;
		struct tm date;

		gmtime_r(&t, &date);
		day = number;
		on_day = 0;
		for (int i = 0; i < N_SCHEDULES; i++)
			if (day_holds(&schedules[i], number, date.tm_year + 1900,
						  date.tm_mon + 1, date.tm_mday))
				on_day |= UINT64_C(1) << i;
	}
	return on_day & at_hour[time / 3600] & at_minute[time / 60 % 60] &
		at_second[time % 60];
}

static void
note(uint64_t due, int64_t instant)
{
	for (; due; due &= due - 1)
	{
		int i = __builtin_ctzll(due);

		found[i].slots++;
		found[i].total += instant;
		found[i].mixed ^= instant * 1000003 ^ instant * 16777216;
	}
}

/* True time of a step's origin: the first at which the clock is there. */
static int64_t
origin_instant(const Schedule *s)
{
	int64_t local = origin_of(s);
	int64_t instant = local - 2 * DAY;

	while (instant + offset_at(instant) < local)
		instant++;
	return instant;
}

static void
write_found(const char *zone, int64_t first, int64_t end, uint64_t which)
{
	for (int i = 0; i < N_SCHEDULES; i++)
	{
		if (!(which >> i & 1))
			continue;
		if (found[i].slots > MOST_SLOTS)
		{
			fprintf(stderr, "\"%s\" has too many slots to compare\n",
					schedules[i].text);
			exit(2);
		}
		printf("%s\t%s\t%ld\t%ld\t%ld\t%ld\t%ld\n", zone, schedules[i].text,
			   (long) first, (long) end, (long) found[i].slots,
			   (long) found[i].total, (long) found[i].mixed);
	}
}

/* Look at each instant from "first" to "end" and note what is due. */
static void
scan(const char *zone, int64_t first, int64_t end, int64_t tick, uint64_t which)
{
	int64_t shown = INT64_MIN;
	int64_t origins[N_SCHEDULES];

	memset(found, 0, sizeof(found));
	for (int i = 0; i < N_SCHEDULES; i++)
		if (which & by_steps & UINT64_C(1) << i)
			origins[i] = origin_instant(&schedules[i]);

	/* The days before tell how far the clock has been already. */
	for (int64_t t = first - 3 * DAY; t < end; t += tick)
	{
		int64_t local = t + offset_at(t);
		uint64_t due = 0;

		if (local > shown)
		{
			/* All local times since the latest one: just one but for gaps. */
			for (int64_t l = shown == INT64_MIN ? local : shown + tick;
				 l <= local; l += tick)
				due |= holding(l) & ~loose;
			shown = local;
		}
		if (t < first)
			continue;
		due |= holding(local) & loose;
		for (uint64_t s = which & by_steps; s; s &= s - 1)
		{
			int i = __builtin_ctzll(s);

			if ((t - origins[i]) % schedules[i].step_seconds == 0)
				due |= UINT64_C(1) << i;
		}
		note(due & which, t);
	}
	write_found(zone, first, end, which);
}

/* Scan the years, and more closely the time around each jump of the clock. */
static void
scan_zone(const char *zone, int first_year, int end_year)
{
	int64_t first = day_number(first_year, 1, 1) * DAY;
	int64_t end = day_number(end_year, 1, 1) * DAY;
	int64_t tick = 60;
	int64_t ordinary = first + 100 * DAY;

	setenv("TZ", zone, 1);
	tzset();
	offset_at(first - 1000 * DAY);
	for (int64_t t = first; t < end; t += 3600)
		if (offset_at(t) % 60 != 0)
			tick = 1;
	for (int i = 0; i < N_SCHEDULES; i++)
		if (schedules[i].step_seconds &&
			origin_instant(&schedules[i]) % 60 != 0)
			tick = 1;
	scan(zone, first, end, tick, of_extent[SPARSE]);
	scan(zone, ordinary, ordinary + 3 * DAY, tick, of_extent[DENSE]);
	for (int64_t t = first; t < end - 3600; t += 3600)
	{
		int64_t here = offset_at(t);

		if (offset_at(t + 3600) == here)
			continue;
		scan(zone, t - 3 * DAY, t + 3 * DAY, tick, of_extent[DENSE]);
		scan(zone, t - 2 * 3600, t + 4 * 3600, 1, of_extent[SECONDS]);

		/* Begin while the clock shows again what it has shown. */
		scan(zone, t + 4800, t + DAY, tick, of_extent[DENSE]);
		scan(zone, t + 4800, t + DAY, tick, of_extent[SPARSE]);
	}
}

int
main(void)
{
	char zone[100];
	int first_year;
	int end_year;

	prepare();
	while (scanf("%99s %d %d", zone, &first_year, &end_year) == 3)
		for (int year = first_year; year < end_year; year += 3)
			scan_zone(zone, year, year + 3 < end_year ? year + 3 : end_year);
	return 0;
}
