/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  Compares the table of a rollup with its query.
 *
 * Both are read by one statement, in one snapshot.  What is open, stale or
 * frozen is left out: there they may differ.  So a difference is a fault: of
 * ours, of a change of a joined table, or of somebody who wrote the table.
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
#include "lib/stringinfo.h"
#include "rollup/compute.h"
#include "rollup/verify.h"

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

/* The stored rows of clean buckets, or the computed ones. */
static char *
clean_rows(const AjRollup *rollup, AjRange within, const char *from)
{
	char *bucket = psprintf("t.%s", quote_identifier(rollup->bucket_column));
	char *target = quote_literal_cstr(rollup->target_name);

	return psprintf(
		"SELECT %s FROM %s t WHERE %s"
		" AND %s < aggjobs.open_from(%s, %s) AND aggjobs.is_clean(%s, %s)",
		aj_compute_columns(rollup, "t"), from,
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
	AjSpi spi;

	if (rollup->frozen_before != AJ_NO_TIME)
		range.from = Max(range.from, rollup->frozen_before);
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
	return store;
}
