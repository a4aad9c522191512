/*-------------------------------------------------------------------------
 *
 * axis.c
 *	  One axis of time for columns of every type that counts as time.
 *
 * Declared, and the axis explained, in bucket.h.  A value that its type can
 * hold but the axis cannot becomes an infinity, and the other way round the
 * first or last bigint.  Whatever is finer than the axis or the type is cut
 * off downwards, so that order is kept.
 *
 * Literals read the same under every DateStyle, TimeZone and search_path.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/axis.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h" /* USE_ISO_DATES */
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "time/bucket.h"

#define NSECS_PER_USEC 1000

/* 1970 on the axis. */
#define UNIX_EPOCH \
	((int64) (UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

typedef struct EpochName
{
	const char *name;
	const char *symbol;
	int64 microseconds; /* in a unit; 0 if it is shorter */
} EpochName;

static const EpochName epochs[] = {
	[AJ_EPOCH_SECOND] = {"second", "s", USECS_PER_SEC},
	[AJ_EPOCH_MILLISECOND] = {"millisecond", "ms", 1000},
	[AJ_EPOCH_MICROSECOND] = {"microsecond", "us", 1},
	[AJ_EPOCH_NANOSECOND] = {"nanosecond", "ns", 0},
};

static bool
names_epoch(const char *text, const EpochName *epoch)
{
	size_t length = strlen(epoch->name);

	if (pg_strcasecmp(text, epoch->symbol) == 0)
		return true;
	return pg_strncasecmp(text, epoch->name, length) == 0 &&
		(text[length] == '\0' || pg_strcasecmp(text + length, "s") == 0);
}

/*
 * aj_epoch_from_text
 *		The unit of that name: "second", "Seconds" or "s", and so on.
 *
 * NULL is AJ_EPOCH_NONE; any other text is an error.
 */
AjEpoch
aj_epoch_from_text(const char *text)
{
	if (text == NULL)
		return AJ_EPOCH_NONE;
	for (int i = AJ_EPOCH_SECOND; i <= AJ_EPOCH_NANOSECOND; i++)
	{
		if (names_epoch(text, &epochs[i]))
			return (AjEpoch) i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a unit in which a bigint counts time",
					aj_clip(text)),
			 errhint("Use second, millisecond, microsecond or nanosecond.")));
}

/*
 * aj_epoch_text
 *		The name of a unit as it is stored; NULL for AJ_EPOCH_NONE.
 */
const char *
aj_epoch_text(AjEpoch epoch)
{
	return epochs[epoch].name;
}

static TimestampTz
clamp(int64 instant)
{
	if (instant < MIN_TIMESTAMP)
		return DT_NOBEGIN;
	return instant < END_TIMESTAMP ? instant : DT_NOEND;
}

/* Dates reach farther than timestamps, but only into the future. */
static TimestampTz
instant_of_date(DateADT date)
{
	if (DATE_IS_NOBEGIN(date))
		return DT_NOBEGIN;
	if (date >= TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE)
		return DT_NOEND;
	return date * USECS_PER_DAY;
}

static int64
floor_div(int64 number, int64 divisor)
{
	int64 quotient = number / divisor;

	return (number % divisor < 0) ? quotient - 1 : quotient;
}

static DateADT
date_of(TimestampTz instant)
{
	DateADT date;

	if (TIMESTAMP_IS_NOBEGIN(instant))
		DATE_NOBEGIN(date);
	else if (TIMESTAMP_IS_NOEND(instant))
		DATE_NOEND(date);
	else
		date = (DateADT) floor_div(instant, USECS_PER_DAY);
	return date;
}

/* The epoch is moved in whole units, for in microseconds the end overflows. */
static TimestampTz
instant_of_number(AjEpoch epoch, int64 number)
{
	int64 unit = epochs[epoch].microseconds;
	int64 instant;

	if (epoch == AJ_EPOCH_NANOSECOND)
		return clamp(floor_div(number, NSECS_PER_USEC) + UNIX_EPOCH);
	if (pg_add_s64_overflow(number, UNIX_EPOCH / unit, &instant) ||
		pg_mul_s64_overflow(instant, unit, &instant))
		return number < 0 ? DT_NOBEGIN : DT_NOEND;
	return clamp(instant);
}

static int64
number_of(AjEpoch epoch, TimestampTz instant)
{
	int64 unit = epochs[epoch].microseconds;
	int64 number = 0;
	bool beyond = TIMESTAMP_NOT_FINITE(instant);

	if (!beyond && epoch == AJ_EPOCH_NANOSECOND)
		beyond = pg_sub_s64_overflow(instant, UNIX_EPOCH, &number) ||
			pg_mul_s64_overflow(number, NSECS_PER_USEC, &number);
	else if (!beyond)
		beyond = pg_sub_s64_overflow(floor_div(instant, unit),
									 UNIX_EPOCH / unit, &number);
	if (beyond)
		return instant < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return number;
}

/*
 * aj_axis_from_datum
 *		Where a value of a time column, not null, lies on the axis.
 */
TimestampTz
aj_axis_from_datum(Oid type, AjEpoch epoch, Datum value)
{
	switch (type)
	{
		case TIMESTAMPTZOID:
			return DatumGetTimestampTz(value);
		case TIMESTAMPOID:
			return DatumGetTimestamp(value);
		case DATEOID:
			return instant_of_date(DatumGetDateADT(value));
		case INT8OID:
			if (epoch != AJ_EPOCH_NONE)
				return instant_of_number(epoch, DatumGetInt64(value));
	}
	elog(ERROR, "type %u with epoch %d is no time", type, (int) epoch);
}

/*
 * aj_axis_to_datum
 *		The last value of the type that is not later than an instant.
 *
 * Beyond what a bigint can hold it is the first or last bigint.
 */
Datum
aj_axis_to_datum(Oid type, AjEpoch epoch, TimestampTz instant)
{
	switch (type)
	{
		case TIMESTAMPTZOID:
			return TimestampTzGetDatum(instant);
		case TIMESTAMPOID:
			return TimestampGetDatum(instant);
		case DATEOID:
			return DateADTGetDatum(date_of(instant));
		case INT8OID:
			if (epoch != AJ_EPOCH_NONE)
				return Int64GetDatum(number_of(epoch, instant));
	}
	elog(ERROR, "type %u with epoch %d is no time", type, (int) epoch);
}

/* An instant as text, without a zone, or with "+00". */
static void
encode_instant(TimestampTz instant, bool with_zone, char *text)
{
	struct pg_tm tm;
	fsec_t fraction;

	if (TIMESTAMP_NOT_FINITE(instant))
		EncodeSpecialTimestamp(instant, text);
	else if (timestamp2tm(instant, NULL, &tm, &fraction, NULL, NULL) == 0)
	{
		tm.tm_isdst = 0; /* else the zone is left out */
		EncodeDateTime(&tm, fraction, with_zone, 0, NULL, USE_ISO_DATES, text);
	}
	else
		elog(ERROR, "timestamp " INT64_FORMAT " is out of range", instant);
}

static void
encode_date(DateADT date, char *text)
{
	struct pg_tm tm;

	if (DATE_NOT_FINITE(date))
		EncodeSpecialDate(date, text);
	else
	{
		j2date(date + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon,
			   &tm.tm_mday);
		EncodeDateOnly(&tm, USE_ISO_DATES, text);
	}
}

/*
 * aj_axis_literal
 *		An instant as an SQL constant of the type, in the caller's context.
 *
 * The value is that of aj_axis_to_datum().
 */
char *
aj_axis_literal(Oid type, AjEpoch epoch, TimestampTz instant)
{
	Datum value = aj_axis_to_datum(type, epoch, instant);
	char text[MAXDATELEN + 1];

	switch (type)
	{
		case TIMESTAMPTZOID:
			encode_instant(instant, true, text);
			return psprintf("'%s'::pg_catalog.timestamptz", text);
		case TIMESTAMPOID:
			encode_instant(instant, false, text);
			return psprintf("'%s'::pg_catalog.timestamp", text);
		case DATEOID:
			encode_date(DatumGetDateADT(value), text);
			return psprintf("'%s'::pg_catalog.date", text);
		default: /* quoted, for a minus would bind less than the cast */
			return psprintf("'" INT64_FORMAT "'::pg_catalog.int8",
							DatumGetInt64(value));
	}
}
