/*-------------------------------------------------------------------------
 *
 * live.c
 *	  What of a rollup may be read from its target, in one snapshot.
 *
 * A bucket is clean, and its rows in the target are right, if it lies below
 * the horizon and no stale row of the rollup and no change row of its source
 * touches it.  Both commit together with the data, so this is asked in the
 * very snapshot in which the data is read.  A rollup over a rollup also has
 * the dirty buckets of its child, and no horizon beyond the child's.
 *
 * Some things do not follow snapshots, and are looked at besides: what this
 * transaction has written itself (it is noted, but not yet in the table),
 * whether it is captured (the triggers may have gone since its snapshot), which
 * partitions the source has, and whether one of its tables has been truncated
 * or rewritten: the server always goes by the latest state of these.
 *
 * Buckets below the frozen line are always clean.  Where very many are dirty,
 * or a range has no beginning, all from there on is computed from raw rows.
 *
 * No state; reads tables with the rights of the extension's owner.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/live.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/clock.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "catalog/pg_class.h"
#include "catalog/source.h"
#include "miscadmin.h"
#include "rollup/batch.h"
#include "rollup/capture.h"
#include "rollup/capture_install.h"
#include "rollup/live.h"
#include "utils/lsyscache.h"

#define MAX_BUCKETS 10000
#define MAX_OPEN 60
#define MAX_SCANS 4 /* of a source that can't be read by time */

/* Ranges as they are collected. */
typedef struct Ranges
{
	int n;
	int size;
	AjRange *ranges;
} Ranges;

static void
add_range(Ranges *all, AjRange range)
{
	if (all->n == all->size)
	{
		all->size = Max(64, all->size * 2);
		all->ranges = all->ranges == NULL
			? palloc(sizeof(AjRange) * (Size) all->size)
			: repalloc(all->ranges, sizeof(AjRange) * (Size) all->size);
	}
	all->ranges[all->n++] = range;
}

static void
add_ranges(Ranges *all, const AjRange *ranges, int n)
{
	for (int i = 0; i < n; i++)
		add_range(all, ranges[i]);
}

static const AjRange everything = {DT_NOBEGIN, DT_NOEND};

static const AjPart *
find_part(const AjPart *parts, int n, Oid part)
{
	for (int low = 0, high = n; low < high;)
	{
		int middle = (low + high) / 2;

		if (parts[middle].part == part)
			return &parts[middle];
		if (parts[middle].part < part)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/*
 * Partitions that came or went, or got a new file, since the snapshot.  One
 * that is being detached is read or not as the snapshot of the plan has it,
 * which may be older than ours; so there, the plan had better compute.
 */
static void
add_parts(Ranges *all, const AjRollup *rollup)
{
	int n;
	AjPart *parts = aj_source_parts(rollup->source, true, &n);
	List *detaching;
	List *now = aj_capture_parts(rollup->source, rollup->time_column,
								 rollup->bucket.epoch, &detaching);
	ListCell *cell;
	int same = 0;

	foreach (cell, detaching)
		add_range(all, *(AjRange *) lfirst(cell));
	foreach (cell, now)
	{
		Oid part = lfirst_oid(cell);
		const AjPart *known = find_part(parts, n, part);

		if (known == NULL)
			add_range(all, everything);
		else if (known->file != aj_file_of(part))
			add_range(all, known->range);
		else
			same++;
	}
	if (same == n)
		return;
	for (int i = 0; i < n; i++)
		if (!list_member_oid(now, parts[i].part))
			add_range(all, parts[i].range);
}

/*
 * May this transaction have written without being captured?  Not in the reads
 * of one that takes a snapshot for each: there, what was broken by somebody
 * else, and thus committed, before it could write is told by a change row.
 */
static bool
may_write_unseen(const AjRollup *rollup)
{
	return IsolationUsesXactSnapshot() &&
		TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		!aj_capture_is_whole(rollup);
}

static void
add_what_no_snapshot_shows(Ranges *all, const AjRollup *rollup)
{
	Oid source = rollup->source;
	int n;
	AjRange *pending = aj_capture_pending(source, &n);

	add_ranges(all, pending, n);
	if (may_write_unseen(rollup))
		add_range(all, everything);
	if (get_rel_relkind(source) == RELKIND_PARTITIONED_TABLE)
		add_parts(all, rollup);
	else if (aj_file_of(source) != aj_source_file_in_snapshot(source))
		add_range(all, everything);
}

/* Widen to whole buckets, cut to what may be dirty at all, merge. */
static void
tidy(Ranges *all, const AjRollup *rollup, AjRange within)
{
	if (all->ranges == NULL)
		return;
	for (int i = 0; i < all->n; i++)
		all->ranges[i] = aj_rollup_widen(rollup, all->ranges[i]);
	all->n = aj_ranges_tidy(all->ranges, all->n, within);
}

/* Number of buckets in a range, counted up to a limit. */
static int64
count_buckets(const AjRollup *rollup, AjRange range, int64 limit)
{
	TimestampTz at = range.from;
	int64 n = 0;

	if (TIMESTAMP_IS_NOBEGIN(range.from))
		return limit + 1;
	/* Buckets of a rollup are not twice as long as one another. */
	if ((range.to - at) / Max(1, aj_bucket_end(&rollup->bucket, at) - at) >
		2 * limit)
		return limit + 1;
	for (; at < range.to && n <= limit; n++)
	{
		CHECK_FOR_INTERRUPTS();
		at = aj_bucket_end(&rollup->bucket, at);
	}
	return n;
}

/*
 * Keep the dirty ranges as long as their buckets are few, from the newest to
 * the oldest; those beyond, and all above them, count as open.
 */
static void
keep_at_most(AjLive *live, const AjRollup *rollup, int64 most)
{
	live->nbuckets = 0;
	for (int i = live->ndirty - 1; i >= 0; i--)
	{
		int64 n = count_buckets(rollup, live->dirty[i], most - live->nbuckets);

		live->nbuckets += n;
		if (live->nbuckets <= most)
			continue;
		/* Those below begin anew. */
		live->open_from = live->dirty[i].from;
		live->ndirty = i;
		live->nbuckets = 0;
	}
}

/* Each dirty bucket costs a look at the source, if need be at all of it. */
static void
keep_few(AjLive *live, const AjRollup *rollup)
{
	keep_at_most(live, rollup, MAX_BUCKETS);
	if (live->nbuckets > MAX_SCANS && !aj_batch_reads_by_time(rollup))
		keep_at_most(live, rollup, MAX_SCANS);
}

/*
 * aj_live_compute
 *		What of a rollup is clean in the active snapshot.  The result is in
 *		the current memory context.
 */
AjLive *
aj_live_compute(const AjRollup *rollup)
{
	AjLive *live = palloc0(sizeof(AjLive));
	TimestampTz horizon =
		rollup->horizon == AJ_NO_TIME ? DT_NOBEGIN : rollup->horizon;
	AjRange within;
	Ranges all = {0};
	AjRange *dirty;
	int n;

	CHECK_FOR_INTERRUPTS();
	check_stack_depth();
	dirty = aj_dirty_of(rollup, true, &n);
	add_ranges(&all, dirty, n);
	if (rollup->lookback == 0)
		add_what_no_snapshot_shows(&all, rollup);
	if (rollup->source_rollup != NULL)
	{
		AjRollup *child = aj_rollup_find_in_snapshot(rollup->source_rollup);
		AjLive *below = child == NULL ? NULL : aj_live_compute(child);

		if (below == NULL)
			horizon = DT_NOBEGIN;
		else
		{
			horizon = Min(horizon,
						  aj_bucket_start(&rollup->bucket, below->open_from));
			add_ranges(&all, below->dirty, below->ndirty);
		}
	}
	within.from = rollup->frozen_before == AJ_NO_TIME ? DT_NOBEGIN
													  : rollup->frozen_before;
	within.to = Max(horizon, within.from);
	tidy(&all, rollup, within);
	live->open_from = within.to;
	live->dirty = all.ranges;
	live->ndirty = all.n;
	keep_few(live, rollup);
	return live;
}

/*
 * aj_live_open_beyond
 *		Up to where open buckets are read one by one: the end of the present
 *		one.  What lies beyond, or all that is open if it has no beginning, is
 *		many buckets, or can't be read by time, is read in one go.
 *
 * Where that is makes no difference to the answer, only to the cost: a reader
 * of old buckets need not look at the present one, nor compute the bucket of
 * each of its rows.
 */
TimestampTz
aj_live_open_beyond(const AjRollup *rollup, const AjLive *live)
{
	AjRange open = {live->open_from, live->open_from};

	if (TIMESTAMP_NOT_FINITE(open.from))
		return open.from;
	open.to = aj_bucket_end(&rollup->bucket, Max(aj_now(), open.from));
	if (TIMESTAMP_IS_NOEND(open.to) ||
		count_buckets(rollup, open, MAX_OPEN) > MAX_OPEN ||
		!aj_batch_reads_by_time(rollup))
		return open.from;
	return open.to;
}
