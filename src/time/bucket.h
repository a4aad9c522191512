/*
 * bucket.h
 *	  Pieces of time: where the bucket of an instant begins and ends.
 */
#ifndef AJ_TIME_BUCKET_H
#define AJ_TIME_BUCKET_H

#include "base/compat.h"
#include "datatype/timestamp.h"

/*
 * The axis.  All time inside the extension is one axis of microseconds, a
 * TimestampTz: a timestamptz is itself, a timestamp or date is taken as if it
 * were UTC, a bigint counts from 1970 in units of "epoch".  What lies beyond
 * the ends of timestamptz is DT_NOBEGIN or DT_NOEND.
 */
typedef enum AjEpoch
{
	AJ_EPOCH_NONE = 0, /* not a bigint */
	AJ_EPOCH_SECOND,
	AJ_EPOCH_MILLISECOND,
	AJ_EPOCH_MICROSECOND,
	AJ_EPOCH_NANOSECOND
} AjEpoch;

typedef enum AjBucketKind
{
	AJ_BUCKET_TRUNC, /* date_trunc(unit, time [, zone]) */
	AJ_BUCKET_BIN,	 /* date_bin(width, time, origin) */
	AJ_BUCKET_WIDTH, /* aggjobs_bucket(width, time [, zone [, origin]]) */
	AJ_BUCKET_COUNT	 /* aggjobs_bucket(bigint, bigint [, origin]) */
} AjBucketKind;

typedef struct AjBucket
{
	AjBucketKind kind;
	Oid time_type;		/* timestamptz, timestamp, date or int8 */
	AjEpoch epoch;		/* of an int8 */
	char *unit;			/* TRUNC: canonical: 'hour', 'day', ... */
	Interval width;		/* BIN, WIDTH */
	char *zone;			/* TRUNC, WIDTH over timestamptz; else NULL */
	TimestampTz origin; /* BIN, WIDTH: on the axis; AJ_BUCKET_NO_ORIGIN */
	int64 count;		/* COUNT: width in units of epoch */
	int64 count_origin; /* COUNT */
} AjBucket;

/* WIDTH without an origin of its own takes the default one. */
#define AJ_BUCKET_NO_ORIGIN (PG_INT64_MIN + 1)

extern AjEpoch aj_epoch_from_text(const char *text);
extern const char *aj_epoch_text(AjEpoch epoch);

extern TimestampTz aj_axis_from_datum(Oid type, AjEpoch epoch, Datum value);
extern Datum aj_axis_to_datum(Oid type, AjEpoch epoch, TimestampTz instant);
extern char *aj_axis_literal(Oid type, AjEpoch epoch, TimestampTz instant);

extern void aj_bucket_check(const AjBucket *bucket);
extern TimestampTz aj_bucket_start(const AjBucket *bucket, TimestampTz instant);
extern TimestampTz aj_bucket_end(const AjBucket *bucket, TimestampTz instant);
extern TimestampTz aj_bucket_name(const AjBucket *bucket, TimestampTz instant);
extern char *aj_bucket_text(const AjBucket *bucket);
extern const char *aj_bucket_unit(const char *text);

#endif /* AJ_TIME_BUCKET_H */
