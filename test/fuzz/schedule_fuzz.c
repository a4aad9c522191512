/*-------------------------------------------------------------------------
 *
 * schedule_fuzz.c
 *	  Any bytes as a schedule, in time zones that jump as they please.
 *
 * A libFuzzer target that needs no server: the few functions of the server
 * that src/time calls are written here a second time, in another way where
 * there is one, and a zone is a list of jumps taken from the input.  The
 * input is the text of a schedule up to the first line end; behind it come
 * the instant to begin with and the jumps.
 *
 * Checked: no byte outside the text is read; a refusal has a column within
 * the text and a reason; slots rise strictly and stay within timestamptz;
 * between an instant and its next slot there is no other; what has hours of
 * the clock's is due only when the clock shows them; slots that are counted
 * and looked for from the end are those that were walked through.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/fuzz/schedule_fuzz.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "time/missed.h"
#include "time/schedule.h"

#define MOST_JUMPS 24
#define FARTHEST_OFFSET (25 * SECS_PER_HOUR)

/* How far a schedule is followed. */
static int most_slots = 48;

struct pg_tz
{
	int jumps;
	pg_time_t at[MOST_JUMPS];
	long int offset[MOST_JUMPS + 1]; /* before the first jump, after each */
};

const int day_tab[2][13] = {{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0},
							{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
							 0}};

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The days before a year of the proleptic Gregorian calendar. */
static int64
days_before_year(int64 year)
{
	int64 before = year - 1 + 8000; /* a multiple of 400 keeps it positive */

	return before * 365 + before / 4 - before / 100 + before / 400;
}

int
date2j(int year, int month, int day)
{
	int64 days = days_before_year(year) - days_before_year(1970) + day - 1;

	for (int m = 1; m < month; m++)
		days += day_tab[isleap(year)][m - 1];
	return (int) days + UNIX_EPOCH_JDATE;
}

void
j2date(int jd, int *year, int *month, int *day)
{
	int64 days = (int64) jd - UNIX_EPOCH_JDATE + days_before_year(1970);
	int64 guess = days * 400 / 146097 - 8000 - 1;

	while (days_before_year(guess + 1) <= days)
		guess++;
	days -= days_before_year(guess);
	*year = (int) guess;
	*month = 1;
	while (days >= day_tab[isleap(*year)][*month - 1])
		days -= day_tab[isleap(*year)][(*month)++ - 1];
	*day = (int) days + 1;
}

int
j2day(int jd)
{
	return (int) ((((int64) jd + 1) % 7 + 7) % 7);
}

int
pg_next_dst_boundary(const pg_time_t *timep, long int *before_gmtoff,
					 int *before_isdst, pg_time_t *boundary,
					 long int *after_gmtoff, int *after_isdst, const pg_tz *tz)
{
	int i = 0;

	while (i < tz->jumps && tz->at[i] <= *timep)
		i++;
	*before_gmtoff = tz->offset[i];
	*before_isdst = *after_isdst = 0;
	if (i == tz->jumps)
		return 0;
	*boundary = tz->at[i];
	*after_gmtoff = tz->offset[i + 1];
	return 1;
}

int
pg_vsnprintf(char *str, size_t count, const char *fmt, va_list args)
{
#undef vsnprintf
	return vsnprintf(str, count, fmt, args);
}

int
pg_snprintf(char *str, size_t count, const char *fmt, ...)
{
	va_list args;
	int length;

	va_start(args, fmt);
	length = pg_vsnprintf(str, count, fmt, args);
	va_end(args);
	return length;
}

size_t
strlcpy(char *dst, const char *src, size_t size)
{
	size_t length = strlen(src);

	if (size > 0)
	{
		memcpy(dst, src, Min(length, size - 1));
		dst[Min(length, size - 1)] = '\0';
	}
	return length;
}

size_t
strlcat(char *dst, const char *src, size_t size)
{
	size_t length = strlen(dst);

	return length + strlcpy(dst + length, src, size - length);
}

#define CHECK(condition)                                      \
	do                                                        \
	{                                                         \
		if (!(condition))                                     \
		{                                                     \
			fputs("does not hold: " #condition "\n", stderr); \
			abort();                                          \
		}                                                     \
	} while (0)

/* Take up to "width" bytes of the input as a number. */
static uint64
take(const uint8_t **data, size_t *size, int width)
{
	uint64 number = 0;

	for (; width > 0 && *size > 0; width--, (*size)--)
		number = number << 8 | *(*data)++;
	return number;
}

static TimestampTz
take_instant(const uint8_t **data, size_t *size)
{
	switch (take(data, size, 1) % 8)
	{
		case 0:
			return (TimestampTz) take(data, size, 8);
		case 1:
			return END_TIMESTAMP - 1 - (TimestampTz) take(data, size, 6);
		case 2:
			return MIN_TIMESTAMP + (TimestampTz) take(data, size, 6);
		default:
			return (TimestampTz) take(data, size, 6) * 32;
	}
}

/* Jumps near "around", as close to each other as they like. */
static void
take_zone(const uint8_t **data, size_t *size, TimestampTz around, pg_tz *zone)
{
	pg_time_t at = around / USECS_PER_SEC +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY -
		6 * SECS_PER_DAY;

	zone->jumps = (int) (take(data, size, 1) % (MOST_JUMPS + 1));
	for (int i = 0; i <= zone->jumps; i++)
	{
		zone->offset[i] = (int16) take(data, size, 2) * 4 % FARTHEST_OFFSET;
		if (i == zone->jumps)
			break;
		at +=
			1 + (pg_time_t) (take(data, size, 3) >> (take(data, size, 1) % 24));
		zone->at[i] = at;
	}
}

static pg_time_t
whole_seconds(TimestampTz instant)
{
	return instant / USECS_PER_SEC - (instant % USECS_PER_SEC < 0) +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY;
}

/* What the clock shows at an instant; *jump if the clock just jumped. */
static int64
shown(const pg_tz *zone, TimestampTz instant, bool *jump)
{
	pg_time_t at = whole_seconds(instant);
	int i = 0;

	while (i < zone->jumps && zone->at[i] <= at)
		i++;
	*jump = i > 0 && zone->at[i - 1] == at;
	return at + zone->offset[i];
}

static void
check_slot(const AjSchedule *schedule, pg_tz *zone, TimestampTz before,
		   TimestampTz slot, uint64 choice)
{
	TimestampTz again;
	bool jump;
	int64 local = shown(zone, slot, &jump);
	int64 match;

	CHECK(slot > before && IS_VALID_TIMESTAMP(slot));
	if (schedule->kind == AJ_SCHEDULE_AFTER)
		return;
	CHECK(slot % USECS_PER_SEC == 0);
	CHECK(aj_next_slot(schedule, zone, slot - 1, &again) && again == slot);
	before = Max(before, MIN_TIMESTAMP);
	if (slot == before)
		return;
	before += (TimestampTz) (choice % ((uint64) slot - (uint64) before));
	CHECK(aj_next_slot(schedule, zone, before, &again) && again == slot);
	if (schedule->kind == AJ_SCHEDULE_CRON && (schedule->cron.elapsed || !jump))
		CHECK(aj_cron_next(&schedule->cron, local, &match) && match == local);
}

/* "slot" is the n-th after "start", and the one after "before". */
static void
check_count(const AjSchedule *schedule, pg_tz *zone, TimestampTz start,
			TimestampTz before, TimestampTz slot, int n)
{
	TimestampTz found;

	CHECK(aj_count_slots(schedule, zone, start, slot) == n);
	CHECK(aj_count_slots(schedule, zone, start, slot - 1) == n - 1);
	CHECK(aj_count_slots(schedule, zone, before, slot) == 1);
	CHECK(aj_previous_slot(schedule, zone, start, slot, &found) &&
		  found == slot);
	if (n == 1)
		CHECK(!aj_previous_slot(schedule, zone, start, slot - 1, &found));
	else
		CHECK(aj_previous_slot(schedule, zone, start, slot - 1, &found) &&
			  found == before);
}

static bool
has_sequence(const AjSchedule *schedule)
{
	return schedule->kind == AJ_SCHEDULE_CRON ||
		schedule->kind == AJ_SCHEDULE_EVERY;
}

static void
check_refusal(const AjScheduleError *error, size_t length)
{
	CHECK(error->column >= 1 && (size_t) error->column <= length + 1);
	CHECK(memchr(error->reason, '\0', sizeof(error->reason)) != NULL);
	CHECK(memchr(error->hint, '\0', sizeof(error->hint)) != NULL);
	CHECK(error->reason[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line_end = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t length = line_end ? (size_t) (line_end - data) : size;
	char *text = malloc(length + 1);
	AjSchedule schedule;
	AjScheduleError error;
	pg_tz zone;
	TimestampTz start;
	TimestampTz before;
	TimestampTz slot;
	bool good;

	memcpy(text, data, length);
	text[length] = '\0';
	memset(&error, 'x', sizeof(error));
	good = aj_schedule_parse(text, &schedule, &error);
	if (!good)
		check_refusal(&error, strlen(text));
	free(text);
	if (!good)
		return 0;

	data += length;
	size -= length;
	take(&data, &size, 1);
	before = start = take_instant(&data, &size);
	take_zone(&data, &size, Min(Max(before, MIN_TIMESTAMP), END_TIMESTAMP),
			  &zone);
	for (int i = 0; i < most_slots; i++)
	{
		if (!aj_next_slot(&schedule, &zone, before, &slot))
			break;
		CHECK(schedule.kind != AJ_SCHEDULE_START);
		CHECK(schedule.kind != AJ_SCHEDULE_AT || i == 0);
		if (schedule.kind == AJ_SCHEDULE_AFTER && before < MIN_TIMESTAMP)
			break;
		check_slot(&schedule, &zone, before, slot,
				   (uint64) before * 2654435761U);
		if (has_sequence(&schedule) && (i & (i + 1)) == 0)
			check_count(&schedule, &zone, start, before, slot, i + 1);
		before = slot;
	}
	return 0;
}
