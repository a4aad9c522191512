/*-------------------------------------------------------------------------
 *
 * bucket_check.c
 *	  Buckets that cannot be used, and how buckets are told to people.
 *
 * A bucket must be one interval of time: start, then all that is in it, then
 * the next start.  Where the clock of a zone is put back over the beginning of
 * a bucket this fails, as in St. John's, where until 2011 one minute of Sunday
 * came before the last hour of Saturday.  So every jump of the clock from 1970
 * to 2037 is tried, with the very functions that compute buckets: a zone is
 * refused for the widths for which it does not work, and for no others.
 *
 * date_trunc cuts hours by the new clock where the old one was half an hour
 * off (Lord Howe), so that an hour may be named after an instant in another.
 * Our own hours are true time and have no such trouble.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/bucket_check.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "time/bucket.h"
#include "time/grid.h"
#include "time/schedule.h"

/* The years whose jumps are tried: 1970-01-01 to 2038-01-01. */
#define FIRST_TRIED ((int64) -10957 * USECS_PER_DAY)
#define END_TRIED ((int64) 13880 * USECS_PER_DAY)

/* Most days that fit on the axis. */
#define MOST_DAYS 106751991

static char *
interval_text(const Interval *interval)
{
	return DatumGetCString(
		DirectFunctionCall1(interval_out, IntervalPGetDatum(interval)));
}

static void
refuse_not_positive(const char *width)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("bucket width must be greater than zero, not %s", width)));
}

/* The instant for a message, without the type. */
static char *
instant_text(TimestampTz instant)
{
	char *literal = aj_axis_literal(TIMESTAMPTZOID, AJ_EPOCH_NONE, instant);

	*strrchr(literal, '\'') = '\0';
	return literal + 1;
}

static void
refuse_jump(const AjBucket *bucket, TimestampTz jump, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("buckets \"%s\" are not contiguous in time",
					aj_bucket_text(bucket)),
			 errdetail("The clock of \"%s\" jumped over the beginning of a "
					   "bucket at %s.",
					   bucket->zone, instant_text(jump)),
			 errhint("%s", hint)));
}

/* What date_trunc() calls the bucket of an instant. */
static TimestampTz
trunc_name(const AjBucket *bucket, TimestampTz instant)
{
	return DatumGetTimestampTz(DirectFunctionCall3(
		timestamptz_trunc_zone, CStringGetTextDatum(bucket->unit),
		TimestampTzGetDatum(instant), CStringGetTextDatum(bucket->zone)));
}

/* Is the bucket of an instant one interval with its name inside? */
static bool
trunc_works_at(const AjBucket *bucket, TimestampTz instant)
{
	TimestampTz start = aj_bucket_start(bucket, instant);
	TimestampTz end = aj_bucket_end(bucket, instant);
	TimestampTz name = trunc_name(bucket, instant);

	return start <= instant && instant < end && end < DT_NOEND &&
		start <= name && name < end && trunc_name(bucket, start) == name &&
		trunc_name(bucket, end - 1) == name;
}

/* And is it so before and after a jump, without stepping back? */
static bool
trunc_works_around(const AjBucket *bucket, TimestampTz jump)
{
	return trunc_works_at(bucket, jump - 1) && trunc_works_at(bucket, jump) &&
		trunc_name(bucket, jump - 1) <= trunc_name(bucket, jump);
}

static void
check_trunc(const AjBucket *bucket)
{
	TimestampTz jump = FIRST_TRIED;
	AjClock clock;

	if (bucket->unit == NULL || aj_bucket_unit(bucket->unit) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a unit of date_trunc",
						bucket->unit == NULL ? "" : aj_clip(bucket->unit)),
				 errhint("Use second, minute, hour, day, week, month, quarter, "
						 "year or another one of date_trunc's units.")));
	if (bucket->zone == NULL)
		return;
	aj_clock_set(&clock, aj_zone_lookup(bucket->zone));
	while ((jump = aj_clock_next_jump(&clock, jump)) < END_TRIED)
	{
		if (!trunc_works_around(bucket, jump))
			refuse_jump(bucket, jump,
						"Use another time zone, such as UTC, or for hours "
						"and less aggjobs_bucket() instead of date_trunc().");
	}
}

/*
 * No clock on a calendar may show a bucket again that it has left.  What it
 * shows at a jump must belong where all that it has shown belongs.
 */
static void
check_jumps(const AjBucket *bucket)
{
	TimestampTz jump = FIRST_TRIED;
	AjGrid grid;
	AjClock *clock = &grid.clock;

	aj_grid_set(&grid, &bucket->width, aj_zone_lookup(bucket->zone),
				bucket->origin);
	if (!grid.local)
		return;
	while ((jump = aj_clock_next_jump(clock, jump)) < END_TRIED)
	{
		int64 shown = aj_clock_shows(clock, jump);

		if (shown < aj_clock_mark(clock, jump) &&
			aj_grid_floor(&grid, shown) <
				aj_grid_floor(&grid, aj_clock_mark(clock, jump)))
			refuse_jump(bucket, jump,
						"Use another time zone, such as UTC, or an origin at "
						"another time of day.");
	}
}

/* A width of one kind only: how long days and months are depends. */
static void
check_pure(const Interval *width)
{
	int fields = (width->month != 0) + (width->day != 0) + (width->time != 0);

	if (fields > 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("bucket width \"%s\" mixes months, days and time",
						interval_text(width)),
				 errhint("Use whole months, whole days, or hours and less; "
						 "\"36 hours\" is a width, \"1 day 12 hours\" is "
						 "not.")));
	if (width->month < 0 || width->day < 0 || width->time < 0 || fields == 0)
		refuse_not_positive(psprintf("\"%s\"", interval_text(width)));
	if (width->day > MOST_DAYS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bucket width \"%s\" is longer than time",
						interval_text(width))));
}

static void
check_origin(TimestampTz origin)
{
	if (TIMESTAMP_NOT_FINITE(origin))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the origin of buckets must be finite, not \"%s\"",
						instant_text(origin))));
}

static void
check_width(const AjBucket *bucket)
{
	check_pure(&bucket->width);
	check_origin(bucket->origin);
	if (bucket->time_type == DATEOID && bucket->width.time != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("dates cannot be put into buckets of \"%s\"",
						interval_text(&bucket->width)),
				 errhint("Use whole days or months; \"1 day\" is a whole day, "
						 "\"24 hours\" is not.")));
	if (bucket->zone != NULL)
		check_jumps(bucket);
}

static void
check_bin(const AjBucket *bucket)
{
	const Interval *width = &bucket->width;
	int64 length;

	if (width->month != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("date_bin cannot count months, as in \"%s\"",
						interval_text(width)),
				 errhint("Use aggjobs_bucket().")));
	if (pg_mul_s64_overflow(width->day, USECS_PER_DAY, &length) ||
		pg_add_s64_overflow(length, width->time, &length))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bucket width \"%s\" is longer than time",
						interval_text(width))));
	if (length <= 0)
		refuse_not_positive(psprintf("\"%s\"", interval_text(width)));
	check_origin(bucket->origin);
}

static void
check_count(const AjBucket *bucket)
{
	if (bucket->count <= 0)
		refuse_not_positive(psprintf(INT64_FORMAT, bucket->count));
	if (bucket->epoch == AJ_EPOCH_NANOSECOND &&
		(bucket->count % 1000 != 0 || bucket->count_origin % 1000 != 0))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("buckets of " INT64_FORMAT
						" nanoseconds from " INT64_FORMAT
						" do not begin at whole microseconds",
						bucket->count, bucket->count_origin),
				 errhint("Use multiples of 1000.")));
}

/*
 * aj_bucket_check
 *		Raise an error if "bucket" cannot be used.
 *
 * Every other function on buckets relies on this check.  In a zone it tries
 * some hundred jumps, which takes less than a millisecond.
 */
void
aj_bucket_check(const AjBucket *bucket)
{
	static void (*const check_of_kind[])(const AjBucket *) = {
		[AJ_BUCKET_TRUNC] = check_trunc,
		[AJ_BUCKET_BIN] = check_bin,
		[AJ_BUCKET_WIDTH] = check_width,
		[AJ_BUCKET_COUNT] = check_count,
	};

	check_of_kind[bucket->kind](bucket);
}

typedef struct UnitName
{
	int64 size;
	const char *name;
} UnitName;

/* "15 minutes": the number in the largest of the units that divides it. */
static void
append_number(StringInfo text, int64 number, const UnitName *units)
{
	while (number % units->size != 0)
		units++;
	number /= units->size;
	appendStringInfo(text, INT64_FORMAT " %s%s", number, units->name,
					 number == 1 ? "" : "s");
}

static void
append_width(StringInfo text, const Interval *width, bool elapsed)
{
	static const UnitName months[] = {{12, "year"}, {1, "month"}};
	static const UnitName days[] = {{7, "week"}, {1, "day"}};
	static const UnitName times[] = {{USECS_PER_HOUR, "hour"},
									 {USECS_PER_MINUTE, "minute"},
									 {USECS_PER_SEC, "second"},
									 {1000, "millisecond"},
									 {1, "microsecond"}};

	if (elapsed)
		append_number(text, width->time + width->day * USECS_PER_DAY, times);
	else if (width->month != 0)
		append_number(text, width->month, months);
	else if (width->day != 0)
		append_number(text, width->day, days);
	else
		append_number(text, width->time, times);
}

/* Zones are told where they are not UTC, origins where they were given. */
static void
append_place(StringInfo text, const AjBucket *bucket)
{
	Oid type = bucket->time_type == INT8OID ? TIMESTAMPOID : bucket->time_type;
	char *literal;

	if (bucket->zone != NULL && strcmp(bucket->zone, "UTC") != 0)
		appendStringInfo(text, " in %s", bucket->zone);
	if (bucket->kind == AJ_BUCKET_TRUNC ||
		bucket->origin == AJ_BUCKET_NO_ORIGIN)
		return;
	literal = aj_axis_literal(type, AJ_EPOCH_NONE, bucket->origin);
	*strrchr(literal, '\'') = '\0';
	appendStringInfo(text, " from %s", literal + 1);
}

/*
 * aj_bucket_text
 *		A bucket in a few words, in the caller's context.
 *
 * Such as "1 hour", "2 weeks in Europe/Berlin", "date_trunc day in
 * Asia/Kolkata", "date_bin 15 minutes from 2026-01-01 00:00:00+00", "3600
 * seconds", "10 seconds from 5".  Independent of all settings.
 */
char *
aj_bucket_text(const AjBucket *bucket)
{
	StringInfoData text;

	initStringInfo(&text);
	switch (bucket->kind)
	{
		case AJ_BUCKET_TRUNC:
			appendStringInfo(&text, "date_trunc %s", bucket->unit);
			append_place(&text, bucket);
			break;
		case AJ_BUCKET_BIN:
			appendStringInfoString(&text, "date_bin ");
			append_width(&text, &bucket->width, true);
			append_place(&text, bucket);
			break;
		case AJ_BUCKET_WIDTH:
			append_width(&text, &bucket->width, false);
			append_place(&text, bucket);
			break;
		case AJ_BUCKET_COUNT:
			append_number(&text, bucket->count,
						  &(UnitName){1, aj_epoch_text(bucket->epoch)});
			if (bucket->count_origin != 0)
				appendStringInfo(&text, " from " INT64_FORMAT,
								 bucket->count_origin);
			break;
	}
	return text.data;
}
