/*-------------------------------------------------------------------------
 *
 * bucket_api.c
 *	  aggjobs_bucket(): the begin of the bucket that a time lies in.
 *
 * For queries, views and the definitions of rollups, so it must be quick: a
 * call site keeps the grid of its last width, zone and origin, and only a
 * changed one is checked and made again.  Locks: none.  Failure: a width, zone
 * or origin that aj_bucket_check() refuses, and results out of range.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/bucket_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "time/bucket.h"
#include "time/grid.h"
#include "time/schedule.h"

PG_FUNCTION_INFO_V1(aggjobs_bucket_timestamptz);
PG_FUNCTION_INFO_V1(aggjobs_bucket_timestamp);
PG_FUNCTION_INFO_V1(aggjobs_bucket_date);
PG_FUNCTION_INFO_V1(aggjobs_bucket_bigint);

/* What a call site keeps.  All bytes zero: no grid yet. */
typedef struct CallSite
{
	Interval width;
	TimestampTz origin;
	int zone_length;
	char zone[TZ_STRLEN_MAX + 1];
	AjGrid grid;
} CallSite;

static CallSite *
call_site(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
		fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(CallSite));
	return fcinfo->flinfo->fn_extra;
}

static bool
same_width(const Interval *a, const Interval *b)
{
	return a->time == b->time && a->day == b->day && a->month == b->month;
}

static bool
same_zone(const CallSite *site, const text *zone)
{
	if (zone == NULL)
		return site->zone_length == 0;
	return site->zone_length == VARSIZE_ANY_EXHDR(zone) &&
		memcmp(site->zone, VARDATA_ANY(zone), site->zone_length) == 0;
}

/* Check what the caller asks for and keep the grid of it. */
static void
renew(CallSite *site, Oid type, const Interval *width, const text *zone,
	  TimestampTz origin)
{
	AjBucket bucket = {.kind = AJ_BUCKET_WIDTH,
					   .time_type = type,
					   .width = *width,
					   .zone = zone == NULL ? NULL : text_to_cstring(zone),
					   .origin = origin};
	pg_tz *found = zone == NULL ? NULL : aj_zone_lookup(bucket.zone);

	memset(site, 0, sizeof(*site)); /* in case of an error */
	aj_bucket_check(&bucket);
	aj_grid_set(&site->grid, width, found, origin);
	if (zone != NULL)
	{
		site->zone_length = (int) strlen(bucket.zone);
		memcpy(site->zone, bucket.zone, site->zone_length);
	}
	site->origin = origin;
	site->width = *width;
}

/* The grid of the width in argument 0. */
static AjGrid *
grid_argument(FunctionCallInfo fcinfo, Oid type, const text *zone,
			  TimestampTz origin)
{
	CallSite *site = call_site(fcinfo);
	const Interval *width = PG_GETARG_INTERVAL_P(0);

	if (!same_width(&site->width, width) || site->origin != origin ||
		!same_zone(site, zone) || site->grid.step + site->grid.months == 0)
		renew(site, type, width, zone, origin);
	return &site->grid;
}

/* The origin in an argument, or that there is none. */
static TimestampTz
origin_argument(FunctionCallInfo fcinfo, int n, Oid type)
{
	if (PG_ARGISNULL(n))
		return AJ_BUCKET_NO_ORIGIN;
	return aj_axis_from_datum(type, AJ_EPOCH_NONE, PG_GETARG_DATUM(n));
}

/* The start of the bucket, or an error if there is no such timestamp. */
static TimestampTz
start_in_range(AjGrid *grid, TimestampTz instant)
{
	TimestampTz start = aj_grid_start(grid, instant);

	if (TIMESTAMP_NOT_FINITE(start) && !TIMESTAMP_NOT_FINITE(instant))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("the bucket begins before the first timestamp")));
	return start;
}

/*
 * aggjobs_bucket_timestamptz
 *		aggjobs_bucket(width interval, time timestamptz, zone, origin)
 *
 * NULL if width, time or zone is NULL; no origin is the default one.
 */
Datum
aggjobs_bucket_timestamptz(PG_FUNCTION_ARGS)
{
	AjGrid *grid;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	grid = grid_argument(fcinfo, TIMESTAMPTZOID, PG_GETARG_TEXT_PP(2),
						 origin_argument(fcinfo, 3, TIMESTAMPTZOID));
	PG_RETURN_TIMESTAMPTZ(start_in_range(grid, PG_GETARG_TIMESTAMPTZ(1)));
}

/*
 * aggjobs_bucket_timestamp
 *		aggjobs_bucket(width interval, time timestamp, origin)
 */
Datum
aggjobs_bucket_timestamp(PG_FUNCTION_ARGS)
{
	AjGrid *grid;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	grid = grid_argument(fcinfo, TIMESTAMPOID, NULL,
						 origin_argument(fcinfo, 2, TIMESTAMPOID));
	PG_RETURN_TIMESTAMP(start_in_range(grid, PG_GETARG_TIMESTAMP(1)));
}

/*
 * aggjobs_bucket_date
 *		aggjobs_bucket(width interval, time date, origin)
 *
 * Dates that no timestamp reaches, from the year 294277 on, are errors.
 */
Datum
aggjobs_bucket_date(PG_FUNCTION_ARGS)
{
	AjGrid *grid;
	DateADT date;
	TimestampTz instant;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	grid = grid_argument(fcinfo, DATEOID, NULL,
						 origin_argument(fcinfo, 2, DATEOID));
	date = PG_GETARG_DATEADT(1);
	instant = aj_axis_from_datum(DATEOID, AJ_EPOCH_NONE, date);
	if (TIMESTAMP_NOT_FINITE(instant) && !DATE_NOT_FINITE(date))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("dates after the year 294276 have no bucket")));
	return aj_axis_to_datum(DATEOID, AJ_EPOCH_NONE,
							start_in_range(grid, instant));
}

/*
 * aggjobs_bucket_bigint
 *		aggjobs_bucket(width bigint, time bigint, origin)
 *
 * Rounds down, also below zero.
 */
Datum
aggjobs_bucket_bigint(PG_FUNCTION_ARGS)
{
	AjBucket bucket = {.kind = AJ_BUCKET_COUNT};
	int64 start;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	bucket.count = PG_GETARG_INT64(0);
	bucket.count_origin = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2);
	aj_bucket_check(&bucket);
	if (!aj_count_floor(PG_GETARG_INT64(1), bucket.count, bucket.count_origin,
						&start))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("bigint out of range")));
	PG_RETURN_INT64(start);
}
