/*-------------------------------------------------------------------------
 *
 * bucket.c
 *	  Pieces of time: where the bucket of an instant begins and ends.
 *
 * date_trunc is left to the server: what it makes of an instant names its
 * bucket, and what it makes of an instant in the next bucket names that one.  The name is the begin, except where a day has two midnights
 * or none: see first_instant.  Equal distances are grid.c's.
 *
 * For a bucket that aj_bucket_check() accepts, buckets cover all of time
 * without overlap: with s and e the start and end of an instant t, s <= t < e,
 * each instant from s to before e has that start, e is its own start, and the
 * name that a query gives the bucket is from s to before e as well.
 * For date_trunc in a zone this is checked for the years 1970 to 2037, and
 * otherwise up to the server; all else has it everywhere.  An infinite instant
 * is its own start and end.  A bucket that begins before the first timestamp
 * or ends behind the last has -infinity or infinity there; of date_trunc, what
 * lies before TRUNC_FIRST is one such bucket, for the server raises errors.
 *
 * State: the grid made last is kept, as callers ask for one bucket many times.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/bucket.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "catalog/pg_type.h"
#include "parser/scansup.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "time/bucket.h"
#include "time/grid.h"
#include "time/schedule.h"

/* Within the first millennium that begins at a timestamp: about 3500 BC. */
#define TRUNC_FIRST (-INT64CONST(5500) * DAYS_1000_YEARS / 1000 * USECS_PER_DAY)
#define DAYS_1000_YEARS 365243

#define LAST_INSTANT (END_TIMESTAMP - 1)

typedef struct TruncUnit
{
	int token; /* of the server's */
	const char *name;
	int64 length; /* usual */
} TruncUnit;

static const TruncUnit units[] = {
	{DTK_MICROSEC, "microseconds", 1},
	{DTK_MILLISEC, "milliseconds", 1000},
	{DTK_SECOND, "second", USECS_PER_SEC},
	{DTK_MINUTE, "minute", USECS_PER_MINUTE},
	{DTK_HOUR, "hour", USECS_PER_HOUR},
	{DTK_DAY, "day", USECS_PER_DAY},
	{DTK_WEEK, "week", 7 * USECS_PER_DAY},
	{DTK_MONTH, "month", 30 * USECS_PER_DAY},
	{DTK_QUARTER, "quarter", 91 * USECS_PER_DAY},
	{DTK_YEAR, "year", 365 * USECS_PER_DAY},
	{DTK_DECADE, "decade", 3652 * USECS_PER_DAY},
	{DTK_CENTURY, "century", 36524 * USECS_PER_DAY},
	{DTK_MILLENNIUM, "millennium", DAYS_1000_YEARS *USECS_PER_DAY},
};

/*
 * aj_bucket_unit
 *		The name by which we call a unit of date_trunc's, or NULL.
 *
 * Every spelling that date_trunc takes is taken: any case, plural, short.
 */
const char *
aj_bucket_unit(const char *text)
{
	int value;
	char *lower = downcase_truncate_identifier(text, (int) strlen(text), false);

	if (DecodeUnits(0, lower, &value) != UNITS)
		return NULL;
	for (int i = 0; i < lengthof(units); i++)
	{
		if (units[i].token == value)
			return units[i].name;
	}
	return NULL;
}

/* About how long a bucket of date_trunc is. */
static int64
trunc_length(const char *unit)
{
	for (int i = 0; i < lengthof(units); i++)
	{
		if (strcmp(units[i].name, unit) == 0)
			return units[i].length;
	}
	elog(ERROR, "\"%s\" is no unit of date_trunc", unit);
}

/* A text of the server's on the stack: this is called for every row. */
typedef union ShortText
{
	int32 header;
	char data[VARHDRSZ + TZ_STRLEN_MAX + 1];
} ShortText;

static Datum
short_text(const char *text, ShortText *result)
{
	size_t length = Min(strlen(text), TZ_STRLEN_MAX);

	memcpy(result->data + VARHDRSZ, text, length);
	SET_VARSIZE(result, VARHDRSZ + length);
	return PointerGetDatum(result);
}

/* What the server's date_trunc makes of a finite instant. */
static TimestampTz
date_trunc(const AjBucket *bucket, TimestampTz instant)
{
	ShortText unit_text;
	ShortText zone_text;
	Datum unit = short_text(bucket->unit, &unit_text);

	if (bucket->zone == NULL)
		return DatumGetTimestamp(DirectFunctionCall2(
			timestamp_trunc, unit, TimestampGetDatum(instant)));
	return DatumGetTimestampTz(DirectFunctionCall3(
		timestamptz_trunc_zone, unit, TimestampTzGetDatum(instant),
		short_text(bucket->zone, &zone_text)));
}

/*
 * The first instant of the bucket that date_trunc calls "label".
 *
 * That is the label but for days on which midnight is shown twice or never:
 * date_trunc then takes the later instant, and what comes before it belongs to
 * the day all the same.  Shorter units never look across a jump.
 */
static TimestampTz
first_instant(const AjBucket *bucket, TimestampTz label)
{
	TimestampTz before = label - 2 * USECS_PER_DAY;
	TimestampTz first = label;

	if (bucket->zone == NULL || trunc_length(bucket->unit) < USECS_PER_DAY ||
		label < TRUNC_FIRST || date_trunc(bucket, label - 1) < label)
		return label;
	while (first - before > 1)
	{
		TimestampTz middle = before + (first - before) / 2;

		if (date_trunc(bucket, middle) < label)
			before = middle;
		else
			first = middle;
	}
	return first;
}

/* Is this so early that the server may find no begin? */
static bool
is_before_all(const AjBucket *bucket, TimestampTz instant)
{
	return instant < TRUNC_FIRST && instant < date_trunc(bucket, TRUNC_FIRST);
}

static TimestampTz
trunc_start(const AjBucket *bucket, TimestampTz instant)
{
	if (is_before_all(bucket, instant))
		return DT_NOBEGIN;
	return first_instant(bucket, date_trunc(bucket, instant));
}

/* The name of the bucket that is "length" behind "label", as far as it goes. */
static TimestampTz
label_behind(const AjBucket *bucket, TimestampTz label, int64 length)
{
	if (label > LAST_INSTANT - length)
		return date_trunc(bucket, LAST_INSTANT);
	return date_trunc(bucket, label + length);
}

/*
 * One usual length from its begin a bucket is over, or else half a length
 * later.
 */
static TimestampTz
trunc_end(const AjBucket *bucket, TimestampTz instant)
{
	int64 length = trunc_length(bucket->unit);
	TimestampTz label;
	TimestampTz next;

	if (is_before_all(bucket, instant))
		return date_trunc(bucket, TRUNC_FIRST);
	label = date_trunc(bucket, instant);
	next = label_behind(bucket, label, length);
	if (next == label)
		next = label_behind(bucket, label, length + length / 2);
	next = first_instant(bucket, next);
	return next > instant ? next : DT_NOEND;
}

/* The grid of the last call, and of what bucket it is. */
typedef struct GridCache
{
	AjGrid grid;
	Interval width; /* all zero: no grid yet */
	TimestampTz origin;
	char zone[TZ_STRLEN_MAX + 1]; /* empty: no zone */
} GridCache;

static const char *
zone_of(const AjBucket *bucket)
{
	return bucket->zone == NULL ? "" : bucket->zone;
}

static AjGrid *
grid_of(const AjBucket *bucket)
{
	static GridCache cache;
	const char *zone = zone_of(bucket);

	if (cache.width.time != bucket->width.time ||
		cache.width.day != bucket->width.day ||
		cache.width.month != bucket->width.month ||
		cache.origin != bucket->origin || strcmp(cache.zone, zone) != 0)
	{
		aj_grid_set(&cache.grid, &bucket->width,
					zone[0] == '\0' ? NULL : aj_zone_lookup(zone),
					bucket->origin);
		cache.width = bucket->width;
		cache.origin = bucket->origin;
		strlcpy(cache.zone, zone, sizeof(cache.zone));
	}
	return &cache.grid;
}

static TimestampTz
grid_start(const AjBucket *bucket, TimestampTz instant)
{
	return aj_grid_start(grid_of(bucket), instant);
}

static TimestampTz
grid_end(const AjBucket *bucket, TimestampTz instant)
{
	return aj_grid_end(grid_of(bucket), instant);
}

/* Nanoseconds reach from 1677 to 2262: what is beyond is in the last bucket. */
static TimestampTz
count_start(const AjBucket *bucket, TimestampTz instant)
{
	int64 number =
		DatumGetInt64(aj_axis_to_datum(INT8OID, bucket->epoch, instant));
	TimestampTz start = DT_NOBEGIN;

	if (aj_count_floor(number, bucket->count, bucket->count_origin, &number))
		start =
			aj_axis_from_datum(INT8OID, bucket->epoch, Int64GetDatum(number));
	return start <= instant ? start : DT_NOBEGIN;
}

static TimestampTz
count_end(const AjBucket *bucket, TimestampTz instant)
{
	int64 number =
		DatumGetInt64(aj_axis_to_datum(INT8OID, bucket->epoch, instant));
	TimestampTz end = DT_NOEND;

	if (aj_count_next(number, bucket->count, bucket->count_origin, &number))
		end = aj_axis_from_datum(INT8OID, bucket->epoch, Int64GetDatum(number));
	return end > instant ? end : DT_NOEND;
}

/*
 * aj_bucket_start
 *		The begin of the bucket that holds "instant", on the axis.
 *
 * What a query calls the bucket is the same instant, except for date_trunc
 * where midnight is shown twice or never: then it is up to some hours later,
 * but always before aj_bucket_end().  So look for rows by
 * "bucket >= start AND bucket < end".
 *
 * May leave a few bytes in the current memory context.
 */
TimestampTz
aj_bucket_start(const AjBucket *bucket, TimestampTz instant)
{
	static TimestampTz (*const start_of_kind[])(const AjBucket *,
												TimestampTz) = {
		[AJ_BUCKET_TRUNC] = trunc_start,
		[AJ_BUCKET_BIN] = grid_start,
		[AJ_BUCKET_WIDTH] = grid_start,
		[AJ_BUCKET_COUNT] = count_start,
	};

	if (TIMESTAMP_NOT_FINITE(instant))
		return instant;
	return start_of_kind[bucket->kind](bucket, instant);
}

/*
 * aj_bucket_end
 *		The begin of the bucket behind the one that holds "instant".
 *
 * May leave a few bytes in the current memory context.
 */
TimestampTz
aj_bucket_end(const AjBucket *bucket, TimestampTz instant)
{
	static TimestampTz (*const end_of_kind[])(const AjBucket *, TimestampTz) = {
		[AJ_BUCKET_TRUNC] = trunc_end,
		[AJ_BUCKET_BIN] = grid_end,
		[AJ_BUCKET_WIDTH] = grid_end,
		[AJ_BUCKET_COUNT] = count_end,
	};

	if (TIMESTAMP_NOT_FINITE(instant))
		return instant;
	return end_of_kind[bucket->kind](bucket, instant);
}

/*
 * aj_bucket_name
 *		The value by which SQL names the bucket that holds an instant: its
 *		start, but with date_trunc, where a clock was set back over midnight,
 *		the second midnight.
 */
TimestampTz
aj_bucket_name(const AjBucket *bucket, TimestampTz instant)
{
	if (bucket->kind != AJ_BUCKET_TRUNC || TIMESTAMP_NOT_FINITE(instant))
		return aj_bucket_start(bucket, instant);
	return date_trunc(bucket, instant);
}
