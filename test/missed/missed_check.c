/*-------------------------------------------------------------------------
 *
 * missed_check.c
 *	  Slots that are counted are those that are walked through.
 *
 * The fuzz target's checks and zones, with schedules that are followed for
 * thousands of slots through random jumps of the clock; then what it costs to
 * account for years of downtime, and the delays between attempts.
 *
 *		missed_check [SEED [ROUNDS]]
 *
 * Prints one line per part, "ok" or "FAIL"; a broken promise ends it.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/missed/missed_check.c
 *
 *-------------------------------------------------------------------------
 */
#include "../fuzz/schedule_fuzz.c"

#include <time.h>

#include "time/backoff.h"

#undef printf

#define INPUT_SIZE 120

static const char *const schedules[] = {
	"* * * * *",		  "* * * * * *",
	"*/7 * * * *",		  "30 * * * * *",
	"5 */4 * * *",		  "0 * * * *",
	"30 2 * * *",		  "0 0 * * *",
	"*/15 1-4 * * *",	  "15,45 59 0-3 * * *",
	"0,30 0-3 * * *",	  "59 23 * * *",
	"0 2 * * 7",		  "30 1 * * 7L,fril",
	"0 0 1,L 3,6,9,12 *", "0 9 1-7 * */3",
	"0 12 29 2 *",		  "every 45 minutes",
	"every 7 seconds",	  "every 1 day",
	"every 2 weeks",	  "every 1 month from 1800-01-31 02:15",
};

static uint64 state;

/* Marsaglia's xorshift64: enough for bytes that nobody chose. */
static uint64
draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void
follow(const char *schedule)
{
	uint8_t input[INPUT_SIZE];
	size_t length = strlen(schedule);

	memcpy(input, schedule, length);
	input[length++] = '\n';
	input[length++] = 3 + (uint8_t) (draw() % 5); /* an instant of our days */
	while (length < INPUT_SIZE)
		input[length++] = (uint8_t) draw();
	most_slots = 1 << (draw() % 13);
	(void) LLVMFuzzerTestOneInput(input, INPUT_SIZE);
}

/* Twice a year the clock jumps by an hour. */
static void
set_years(pg_tz *zone, pg_time_t begin)
{
	zone->jumps = MOST_JUMPS;
	for (int i = 0; i <= MOST_JUMPS; i++)
		zone->offset[i] = (1 + i % 2) * SECS_PER_HOUR;
	for (int i = 0; i < MOST_JUMPS; i++)
		zone->at[i] = begin + (pg_time_t) (i + 1) * 180 * SECS_PER_DAY;
}

/* What the scheduler calculates for a job that was down for 20 years. */
static double
downtime_ms(const char *text, int64 *slots)
{
	TimestampTz begin = 0;
	TimestampTz end = begin + (int64) 20 * 365 * USECS_PER_DAY;
	AjSchedule schedule;
	AjScheduleError error;
	pg_tz zone;
	TimestampTz slot = end + 1;
	clock_t before = clock();

	CHECK(aj_schedule_parse(text, &schedule, &error));
	set_years(&zone, whole_seconds(begin));
	*slots = aj_count_slots(&schedule, &zone, begin, end);
	for (int i = 0; i < 1000; i++)
		(void) aj_previous_slot(&schedule, &zone, begin, slot - 1, &slot);
	return (double) (clock() - before) * 1000 / CLOCKS_PER_SEC;
}

static void
check_backoff(void)
{
	static const int64 longest[] = {0, 1, 1000, 30000, PG_INT64_MAX / 4};

	for (size_t i = 0; i < lengthof(longest); i++)
	{
		for (int failures = 1; failures < 200; failures++)
		{
			int64 least = aj_backoff_ms(failures, 1000, longest[i], 0);
			int64 most = aj_backoff_ms(failures, 1000, longest[i], 1);

			CHECK(least >= 0 && least <= most && most <= longest[i]);
			CHECK(most - least <= most / 2 + 1);
			CHECK(most == longest[i] ||
				  (failures < 60 &&
				   most == (INT64CONST(1000) << (failures - 1))));
		}
	}
	CHECK(aj_backoff_ms(1, 1000, 30000, 1) == 1000);
	CHECK(aj_backoff_ms(3, 1000, 30000, 1) == 4000);
	CHECK(aj_backoff_ms(6, 1000, 30000, 1) == 30000);
	CHECK(aj_backoff_ms(6, 1000, 30000, 0) == 15000);
}

int
main(int argc, char **argv)
{
	uint64 seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 20261125;
	int rounds = argc > 2 ? atoi(argv[2]) : 40;
	int64 slots;
	double ms;

	state = seed * UINT64CONST(0x9E3779B97F4A7C15) + 1;
	printf("# seed %llu, %d rounds\n", (unsigned long long) seed, rounds);
	fflush(stdout);
	for (int round = 0; round < rounds; round++)
		for (size_t i = 0; i < lengthof(schedules); i++)
			follow(schedules[i]);
	printf("ok slots that are counted are those that are walked through\n");

	check_backoff();
	printf(
		"ok delays double up to their limit, and are cut by a half at most\n");

	ms = downtime_ms("* * * * *", &slots);
	printf("%s 20 years of a minute job, %lld slots, in less than 100 ms\n",
		   ms < 100 && slots == INT64CONST(20) * 365 * 1440 ? "ok" : "FAIL",
		   (long long) slots);
	printf("# %.1f ms of CPU, 1000 slots looked for included\n", ms);
	ms = downtime_ms("*/5 1-4 * * * *", &slots);
	printf("# %.1f ms for a job of %lld slots with fixed hours\n", ms,
		   (long long) slots);
	return 0;
}
