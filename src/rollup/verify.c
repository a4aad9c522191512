/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  Compares the table of a rollup with its query.
 *
 * Both are read by one statement, in one snapshot.  What is open, stale or
 * frozen is left out: there they may differ.  So a difference is a fault: of
 * ours, of a change of a joined table, or of somebody who wrote the table.
 *
 * Of a large rollup a sample of buckets can be compared: instants are drawn
 * from the range of time, and the bucket of each is kept with a chance that
 * makes up for its length, so that a February comes as often as a March.
 *
 * No state, no locks.  Runs with the rights of the current user.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/verify.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "catalog/change.h"
#include "common/pg_prng.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "rollup/acting.h"
#include "rollup/compute.h"
#include "rollup/live.h"
#include "rollup/verify.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

/* Where there are hardly more buckets than are asked for, some are missed. */
#define DRAWS_PER_BUCKET 64

/* Ranges that a message lists. */
#define MOST_SHOWN 100

/* jsonb_build_object('k', a.k, ...) of the keys */
static char *
key_object(const AjRollup *rollup)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "jsonb_build_object(");
	for (int i = 0; i < rollup->nkeys; i++)
		appendStringInfo(&text, "%s%s, d.%s", i > 0 ? ", " : "",
						 quote_literal_cstr(rollup->keys[i]),
						 quote_identifier(rollup->keys[i]));
	appendStringInfoString(&text, ")");
	return text.data;
}

static bool
has_equality(Oid relation, AttrNumber column)
{
	return OidIsValid(
		lookup_type_cache(get_atttype(relation, column), TYPECACHE_EQ_OPR)
			->eq_opr);
}

/* The columns of "t"; those whose type has no equality, as text. */
static char *
comparable_columns(const AjRollup *rollup)
{
	StringInfoData text;
	char *name;

	initStringInfo(&text);
	for (AttrNumber i = 1; (name = get_attname(rollup->live, i, true)) != NULL;
		 i++)
	{
		const char *column = quote_identifier(name);

		appendStringInfo(&text, "%st.%s", i > 1 ? ", " : "", column);
		if (!has_equality(rollup->live, i))
			appendStringInfo(&text, "::pg_catalog.text AS %s", column);
	}
	return text.data;
}

/* The stored rows of clean buckets, or the computed ones. */
static char *
clean_rows(const AjRollup *rollup, AjRange within, const char *from)
{
	char *bucket = psprintf("t.%s", quote_identifier(rollup->bucket_column));
	char *target = quote_literal_cstr(rollup->target_name);

	return psprintf(
		"SELECT %s FROM %s t WHERE %s"
		" AND %s < aggjobs.open_from(%s, %s) AND aggjobs.is_clean(%s, %s)",
		comparable_columns(rollup), from,
		aj_compute_range(rollup, bucket, within), bucket, target, bucket,
		target, bucket);
}

/*
 * aj_verify
 *		The rows in which a rollup's table and its query differ in the clean
 *		buckets within a range: bucket (text), key (jsonb), difference (text:
 *		missing, extra or differs), stored, computed (jsonb).
 *
 * The result is in "context".
 */
Tuplestorestate *
aj_verify(const AjRollup *rollup, AjRange within, MemoryContext context,
		  TupleDesc *desc)
{
	AjRange range = aj_rollup_widen(rollup, within);
	Tuplestorestate *store;
	char *stored;
	char *computed;
	AjActing acting;
	AjSpi spi;

	if (rollup->frozen_before != AJ_NO_TIME)
		range.from = Max(range.from, rollup->frozen_before);
	aj_acting_begin(rollup, &acting);
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	stored = clean_rows(rollup, range, rollup->target_name);
	computed =
		clean_rows(rollup, range,
				   psprintf("(%s)", aj_compute_text(rollup, range, false)));
	store = aj_spi_query_store(
		psprintf(
			"WITH stored AS MATERIALIZED (%s), computed AS MATERIALIZED (%s),"
			" d AS (SELECT 's' AS side, x.* FROM (TABLE stored EXCEPT ALL TABLE computed) x"
			" UNION ALL SELECT 'c', x.* FROM (TABLE computed EXCEPT ALL TABLE stored) x),"
			" j AS (SELECT d.side, d.%s::text AS bucket, %s AS key,"
			" to_jsonb(d) - 'side' AS whole FROM d)"
			" SELECT j.bucket, j.key,"
			" CASE WHEN count(*) = 2 THEN 'differs'"
			" WHEN min(j.side) = 's' THEN 'extra' ELSE 'missing' END,"
			" (jsonb_agg(j.whole) FILTER (WHERE j.side = 's')) -> 0,"
			" (jsonb_agg(j.whole) FILTER (WHERE j.side = 'c')) -> 0"
			" FROM j GROUP BY j.bucket, j.key ORDER BY j.bucket, j.key",
			stored, computed, quote_identifier(rollup->bucket_column),
			key_object(rollup)),
		context, desc);
	aj_spi_close(&spi);
	aj_acting_end(&acting);
	return store;
}

/* The first bucket that is in the table; false if it is empty. */
static bool
first_stored(const AjRollup *rollup, TimestampTz *first)
{
	AjSpi spi;
	bool isnull;
	Datum value;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_read_once(psprintf("SELECT min(t.%s) FROM %s t",
									 quote_identifier(rollup->bucket_column),
									 rollup->target_name),
							AJ_NO_ARGS);
	value = aj_spi_datum(0, 1, &isnull);
	if (!isnull)
		*first = aj_axis_from_datum(rollup->bucket.time_type,
									rollup->bucket.epoch, value);
	aj_spi_close(&spi);
	return !isnull;
}

/* Cut a range to what the table holds and a verification looks at. */
static AjRange
cut_to_stored(const AjRollup *rollup, AjRange within, const AjLive *live)
{
	AjRange range = aj_rollup_widen(rollup, within);

	if (rollup->frozen_before != AJ_NO_TIME)
		range.from = Max(range.from, rollup->frozen_before);
	range.to = Min(range.to, live->open_from);
	if (!TIMESTAMP_NOT_FINITE(range.from))
		return range;
	if (!first_stored(rollup, &range.from))
		range.to = range.from;
	return range;
}

static bool
touches(AjRange bucket, const AjRange *ranges, int n)
{
	for (int i = 0; i < n; i++)
		if (bucket.from < ranges[i].to && bucket.to > ranges[i].from)
			return true;
	return false;
}

/* A bucket that holds a random instant, or none, as long ones come too often. */
static bool
draw(const AjRollup *rollup, AjRange range, int64 shortest, AjRange *bucket)
{
	TimestampTz at = range.from +
		(TimestampTz) pg_prng_uint64_range(&pg_global_prng_state, 0,
										   (uint64) (range.to - range.from -
													 1));

	*bucket = aj_rollup_bucket(rollup, at);
	return pg_prng_double(&pg_global_prng_state) <
		(double) shortest / (double) (bucket->to - bucket->from);
}

/*
 * aj_verify_sample
 *		Draw at most "wanted" different buckets within a range, of those that
 *		are computed, clean and not frozen, each with the same chance.  Returns
 *		them as ranges in order, neighbours merged, and how many buckets they
 *		are.
 *
 * Without a begin, the range begins with the first bucket in the table.
 */
AjSample
aj_verify_sample(const AjRollup *rollup, AjRange within, int wanted)
{
	AjLive *live = aj_live_compute(rollup);
	AjRange range = cut_to_stored(rollup, within, live);
	AjSample sample = {0};
	AjRange first;
	int64 shortest;

	sample.ranges = palloc(sizeof(AjRange) * (Size) wanted);
	if (range.from >= range.to)
		return sample;
	first = aj_rollup_bucket(rollup, range.from);
	/* No bucket of a rollup is half as short as another. */
	shortest = (first.to - first.from) / 2;
	for (int i = 0; i < wanted * DRAWS_PER_BUCKET && sample.nbuckets < wanted;
		 i++)
	{
		AjRange bucket;

		CHECK_FOR_INTERRUPTS();
		if (draw(rollup, range, shortest, &bucket) &&
			!touches(bucket, sample.ranges, sample.nbuckets) &&
			!touches(bucket, live->dirty, live->ndirty))
			sample.ranges[sample.nbuckets++] = bucket;
	}
	sample.nranges = aj_ranges_tidy(sample.ranges, sample.nbuckets, range);
	return sample;
}

/* What a sample has looked at, for messages. */
char *
aj_verify_sample_text(const AjSample *sample)
{
	StringInfoData text;
	int shown = Min(sample->nranges, MOST_SHOWN);

	initStringInfo(&text);
	for (int i = 0; i < shown; i++)
	{
		appendStringInfo(&text, "%s%s to ", i > 0 ? ", " : "",
						 timestamptz_to_str(sample->ranges[i].from));
		appendStringInfoString(&text, timestamptz_to_str(sample->ranges[i].to));
	}
	if (shown < sample->nranges)
		appendStringInfo(&text, ", and %d more ranges",
						 sample->nranges - shown);
	return text.data;
}
