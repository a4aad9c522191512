/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  How much of a stale range is computed in one transaction.
 *
 * Each batch is committed on its own, the newest first, so that a cancel
 * loses little and readers soon have what they look at most.  Its width
 * follows the time that the one before took, towards about a second: short
 * transactions hold up no vacuum, and their sorts stay in memory.
 *
 * A range with no beginning, as that of a new rollup, begins where the source
 * has its first row.  Where reading a part of the time costs as much as
 * reading all of it, for want of an index or partitions by time, there is one
 * batch.
 *
 * No state but the caller's; reads with the rights of the current user.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/batch.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "rollup/acting.h"
#include "rollup/batch.h"
#include "rollup/compute.h"

#define AIM_SECONDS 1.0
#define MOST_WIDER 4.0
#define MOST_NARROWER 0.25

/* A btree or BRIN index on the time column, or partitions by its ranges. */
bool
aj_batch_reads_by_time(const AjRollup *rollup)
{
	AjSpi spi;
	bool found;

	if (rollup->source_rollup != NULL)
		return true;
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	found = aj_spi_read("SELECT FROM pg_index i"
						" JOIN pg_class c ON c.oid = i.indexrelid"
						" JOIN pg_am m ON m.oid = c.relam"
						" JOIN pg_attribute a ON a.attrelid = i.indrelid"
						" AND a.attnum = i.indkey[0]"
						" WHERE i.indrelid = $1 AND a.attname = $2::text"
						" AND m.amname IN ('btree', 'brin') AND i.indisvalid"
						" AND i.indpred IS NULL"
						" UNION ALL SELECT FROM pg_partitioned_table p"
						" JOIN pg_attribute a ON a.attrelid = p.partrelid"
						" AND a.attnum = p.partattrs[0]"
						" WHERE p.partrelid = $1 AND a.attname = $2::text"
						" AND p.partstrat = 'r'",
						AJ_ARGS(aj_arg_oid(rollup->source),
								aj_arg_text(rollup->time_column))) > 0;
	aj_spi_close(&spi);
	return found;
}

/* Begin with one bucket. */
void
aj_batch_begin(AjBatch *batch, const AjRollup *rollup)
{
	batch->rollup = rollup;
	batch->can_split = aj_batch_reads_by_time(rollup);
	batch->width = 0;
}

/*
 * aj_batch_edge
 *		The first ("min") or last ("max") instant within a range that has a
 *		row, or AJ_NO_TIME.
 *
 * Over a rollup its table is asked, which may lack some: this decides about
 * the width of batches, and nothing is left out.
 */
TimestampTz
aj_batch_edge(const AjRollup *rollup, AjRange range, const char *which)
{
	const char *time = psprintf("s.%s", quote_identifier(rollup->time_column));
	char *sql =
		psprintf("SELECT %s(%s) FROM %s s WHERE %s", which, time,
				 rollup->source_name, aj_compute_range(rollup, time, range));
	TimestampTz instant = AJ_NO_TIME;
	AjActing acting;
	AjSpi spi;

	aj_acting_begin(rollup, &acting);
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run_once(sql, AJ_NO_ARGS);
	if (!aj_spi_isnull(0, 1))
	{
		bool isnull;

		instant =
			aj_axis_from_datum(rollup->bucket.time_type, rollup->bucket.epoch,
							   aj_spi_datum(0, 1, &isnull));
	}
	aj_spi_close(&spi);
	aj_acting_end(&acting);
	return instant;
}

/* The bucket start that lies one width below the end of a stale range. */
static TimestampTz
start_of_batch(const AjBatch *batch, AjRange stale)
{
	const AjBucket *bucket = &batch->rollup->bucket;
	TimestampTz from;

	if (batch->width == 0 || stale.to - batch->width < stale.from)
		from = batch->width == 0 ? stale.to - 1 : stale.from;
	else
		from = stale.to - batch->width;
	if (from < MIN_TIMESTAMP)
		return DT_NOBEGIN;
	return Max(aj_bucket_start(bucket, from), stale.from);
}

/*
 * aj_batch_next
 *		The part of a stale range that is to be computed next: its end.
 */
AjRange
aj_batch_next(AjBatch *batch, AjRange stale)
{
	AjRange range = stale;
	AjRange finite = {Max(stale.from, MIN_TIMESTAMP), stale.to};
	TimestampTz first;
	TimestampTz last;

	INSTR_TIME_SET_CURRENT(batch->start);
	if (!batch->can_split || TIMESTAMP_IS_NOEND(stale.to) ||
		stale.to <= MIN_TIMESTAMP)
		return range;
	if (!TIMESTAMP_IS_NOBEGIN(stale.from) &&
		aj_bucket_end(&batch->rollup->bucket, stale.from) >= stale.to)
		return range;
	if (TIMESTAMP_IS_NOBEGIN(stale.from))
	{
		first = aj_batch_edge(batch->rollup, finite, "min");
		if (first == AJ_NO_TIME)
			return range;
		/* The rest, below the first row, is a batch of its own. */
		range.from = aj_bucket_start(&batch->rollup->bucket, first);
		if (range.from >= range.to)
			return stale;
	}
	last = aj_batch_edge(batch->rollup, range, "max");
	if (last == AJ_NO_TIME)
		return range;
	/* All of a gap after the last row belongs to this batch. */
	finite.from = range.from;
	finite.to = Min(range.to, aj_bucket_end(&batch->rollup->bucket, last));
	range.from = start_of_batch(batch, finite);
	return range;
}

/* A batch is done: the next one is to take about the time that we aim at. */
void
aj_batch_done(AjBatch *batch, AjRange range)
{
	instr_time now;
	double seconds;
	double factor;
	int64 width;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, batch->start);
	seconds = INSTR_TIME_GET_DOUBLE(now);
	if (TIMESTAMP_IS_NOBEGIN(range.from) || TIMESTAMP_IS_NOEND(range.to))
		return;
	width = Max(batch->width, 1);
	if (batch->width == 0)
		width = range.to - range.from;
	factor = AIM_SECONDS / Max(seconds, 0.001);
	factor = Min(MOST_WIDER, Max(MOST_NARROWER, factor));
	batch->width = (int64) ((double) width * factor);
}
