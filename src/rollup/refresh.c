/*-------------------------------------------------------------------------
 *
 * refresh.c
 *	  Compute the buckets of a rollup that are due, or those asked for.
 *
 * A refresh recomputes whole buckets: in one transaction it deletes them from
 * the target and inserts what the rollup's query returns for them.  So it can
 * be repeated at will, and readers see a bucket before or after, never
 * between.
 *
 * The order matters.  The change rows of the source become stale rows, and
 * stale rows are taken, by statements whose snapshots are older than that of
 * the query: a row whose note was taken is seen by the query, and a note that
 * comes later waits for the next refresh.
 *
 * A rollup over a rollup has its source refreshed first.
 *
 * Locks: the row of the rollup (aj_rollup_lock) until the end of the
 * transaction, a child's before its parent's.  Runs with the rights of the
 * current user, who must be able to read the source and write the target.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/refresh.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "rollup/refresh.h"

static void
commit_so_far(const AjRefresh *refresh)
{
	if (refresh->commit != NULL)
		refresh->commit(refresh->commit_arg);
}

/* The target's columns that the query fills, as a list for INSERT. */
static char *
insert_columns(const AjRollup *rollup)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *columns;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run("SELECT string_agg(quote_ident(a.attname), ', '"
					  " ORDER BY a.attnum) FROM pg_attribute a"
					  " WHERE a.attrelid = $1 AND a.attnum > 0"
					  " AND NOT a.attisdropped AND a.attgenerated = ''",
					  AJ_ARGS(aj_arg_oid(rollup->target)));
	columns = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	return columns;
}

/*
 * A range without end is cut to where the source has rows, so that the query
 * gets finite bounds.  False if there are none.
 */
static bool
cut_to_source(const AjRollup *rollup, AjRange *range)
{
	AjSpi spi;
	char *sql;
	bool some;

	if (!TIMESTAMP_NOT_FINITE(range->from) && !TIMESTAMP_NOT_FINITE(range->to))
		return true;
	sql =
		psprintf("SELECT min(s.%s), max(s.%s) FROM %s s WHERE isfinite(s.%s)"
				 " AND s.%s >= $1 AND s.%s < $2",
				 rollup->time_column, rollup->time_column, rollup->source_name,
				 rollup->time_column, rollup->time_column, rollup->time_column);
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run_once(
		sql, AJ_ARGS(aj_arg_time(range->from), aj_arg_time(range->to)));
	some = !aj_spi_isnull(0, 1);
	if (some)
	{
		TimestampTz first = aj_spi_time(0, 1, AJ_NO_TIME);
		TimestampTz last = aj_spi_time(0, 2, AJ_NO_TIME);

		range->from = Max(range->from, aj_rollup_bucket(rollup, first).from);
		range->to = Min(range->to, aj_rollup_bucket(rollup, last).to);
	}
	aj_spi_close(&spi);
	return some;
}

/* Delete the buckets in a range and insert them anew. */
static void
compute(const AjRollup *rollup, AjRange range, AjRefresh *refresh)
{
	AjSpi spi;
	char *delete_sql;
	char *insert_sql;

	delete_sql = psprintf("DELETE FROM %s t WHERE t.bucket >= $1"
						  " AND t.bucket < $2",
						  rollup->target_name);
	insert_sql = psprintf("INSERT INTO %s (%s) %s", rollup->target_name,
						  insert_columns(rollup), rollup->query);

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	refresh->rows_deleted += (int64) aj_spi_run_once(
		delete_sql, AJ_ARGS(aj_arg_time(range.from), aj_arg_time(range.to)));
	aj_spi_close(&spi);

	if (!cut_to_source(rollup, &range))
		return;
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	refresh->rows_written += (int64) aj_spi_run_once(
		insert_sql, AJ_ARGS(aj_arg_time(range.from), aj_arg_time(range.to)));
	aj_spi_close(&spi);
}

/* Compute one range, and tell those who depend on it. */
static void
refresh_range(const AjRollup *rollup, AjRange range, AjRefresh *refresh)
{
	CHECK_FOR_INTERRUPTS();
	aj_stale_take(rollup->rollup_id, range);
	compute(rollup, range, refresh);
	aj_stale_add_parents(rollup->rollup_id, range);
	refresh->computed.from = refresh->ranges == 0
		? range.from
		: Min(refresh->computed.from, range.from);
	refresh->computed.to =
		refresh->ranges == 0 ? range.to : Max(refresh->computed.to, range.to);
	refresh->ranges++;
}

/* From the frozen line to the start of the bucket that is still open. */
static AjRange
closed_range(const AjRollup *rollup, TimestampTz now)
{
	AjRange closed;

	closed.from = rollup->frozen_before == AJ_NO_TIME ? DT_NOBEGIN
													  : rollup->frozen_before;
	closed.to = aj_rollup_bucket(rollup, now).from;
	return closed;
}

/* Stale ranges below the frozen line will never be computed: forget them. */
static void
drop_frozen(const AjRollup *rollup)
{
	AjRange frozen = {DT_NOBEGIN, rollup->frozen_before};
	int n;

	if (rollup->frozen_before == AJ_NO_TIME)
		return;
	(void) aj_stale_ranges(rollup, frozen, &n);
	if (n == 0)
		return;
	aj_stale_take(rollup->rollup_id, frozen);
	ereport(
		NOTICE,
		(errmsg(
			 "rollup \"%s\": %d ranges were written after their raw rows had been retired",
			 rollup->name, n),
		 errdetail("Buckets that were retired keep what they have.")));
}

/*
 * Who may not write the target must not move what we note about it either,
 * also when there is nothing to write.
 */
static void
check_rights(const AjRollup *rollup)
{
	if (pg_class_aclcheck(rollup->target, GetUserId(), ACL_INSERT) !=
			ACLCHECK_OK ||
		pg_class_aclcheck(rollup->target, GetUserId(), ACL_DELETE) !=
			ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to refresh rollup \"%s\"",
						rollup->name),
				 errdetail("It fills table %s, which needs INSERT and DELETE.",
						   rollup->target_name)));
}

static void
refresh_due(AjRollup *rollup, AjRefresh *refresh)
{
	AjRange closed;
	AjRange *ranges;
	int n;

	check_rights(rollup);
	if (rollup->source_rollup == 0)
		(void) aj_change_absorb(rollup->source);
	commit_so_far(refresh);

	aj_rollup_lock(rollup);
	drop_frozen(rollup);
	closed = closed_range(rollup, refresh->now);
	ranges = aj_stale_ranges(rollup, closed, &n);
	for (int i = 0; i < n; i++)
		refresh_range(rollup, ranges[i], refresh);
	aj_rollup_set_horizon(rollup->rollup_id, closed.to);
}

/* A bucket below the frozen line can't be computed any more. */
static void
check_not_frozen(const AjRollup *rollup, AjRange range)
{
	if (rollup->frozen_before != AJ_NO_TIME &&
		range.from < rollup->frozen_before)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rollup \"%s\" is frozen before %s", rollup->name,
					timestamptz_to_str(rollup->frozen_before)),
			 errdetail(
				 "The raw rows of the bucket that begins at %s were retired, so computing it again would lose it.",
				 timestamptz_to_str(range.from))));
}

/* What of a range can still be computed; false if nothing. */
static bool
part_not_frozen(const AjRollup *rollup, AjRange range, AjRange *part)
{
	*part = range;
	if (rollup->frozen_before != AJ_NO_TIME)
		part->from = Max(part->from, rollup->frozen_before);
	return part->from < part->to;
}

static void
refresh_at(AjRollup *rollup, AjRange range, bool is_source, AjRefresh *refresh)
{
	check_rights(rollup);
	if (rollup->source_rollup == 0)
		(void) aj_change_absorb(rollup->source);
	commit_so_far(refresh);
	aj_rollup_lock(rollup);
	if (!is_source)
		check_not_frozen(rollup, range);
	else if (!part_not_frozen(rollup, range, &range))
		return;
	refresh_range(rollup, range, refresh);
}

/* Refresh what a rollup is computed from, if that is a rollup too. */
static void
refresh_source(const AjRollup *rollup, const AjRange *range,
			   const AjRefresh *parent)
{
	AjRollup *child;
	AjRefresh refresh = *parent;
	AjRange part;

	if (rollup->source_rollup == 0)
		return;
	child = aj_rollup_get(rollup->source_rollup);
	refresh.ranges = 0;
	if (range == NULL)
	{
		refresh_source(child, NULL, &refresh);
		refresh_due(child, &refresh);
	}
	else if (part_not_frozen(child, *range, &part))
	{
		refresh_source(child, &part, &refresh);
		refresh_at(child, part, true, &refresh);
	}
	commit_so_far(parent);
}

/*
 * aj_refresh
 *		Compute the stale buckets of a rollup that have ended, or, if
 *		refresh->at is given, the bucket of that instant, ended or not; its
 *		sources first.
 *
 * Leaves the last transaction open, for the caller to add the result to.
 * Errors: 55000 if the bucket asked for is frozen; whatever the query raises.
 */
void
aj_refresh(AjRollup *rollup, AjRefresh *refresh)
{
	AjRange range;

	refresh->ranges = 0;
	refresh->rows_deleted = 0;
	refresh->rows_written = 0;
	if (refresh->at == AJ_NO_TIME)
	{
		refresh_source(rollup, NULL, refresh);
		refresh_due(rollup, refresh);
		return;
	}
	range = aj_rollup_bucket(rollup, refresh->at);
	refresh_source(rollup, &range, refresh);
	refresh_at(rollup, range, false, refresh);
}

static void
tell_range(const AjRollup *rollup, AjRange range)
{
	char *from = pstrdup(timestamptz_to_str(range.from));

	ereport(NOTICE,
			(errmsg("rollup \"%s\" would compute the %ss from %s to before %s",
					rollup->name, rollup->unit, from,
					timestamptz_to_str(range.to))));
}

/* Tell what is due; returns how many ranges, those of the sources included. */
static int
tell_due(AjRollup *rollup, TimestampTz now)
{
	AjRange *ranges;
	int n;
	int below = 0;

	if (rollup->source_rollup != 0)
	{
		AjRollup *child = aj_rollup_get(rollup->source_rollup);

		below = tell_due(child, now);
		if (below > 0)
			ereport(NOTICE,
					(errmsg("rollup \"%s\" would compute the %ss that these "
							"changes of \"%s\" fall into, if they have ended",
							rollup->name, rollup->unit, child->name)));
	}
	ranges = aj_stale_ranges_to_come(rollup, closed_range(rollup, now), &n);
	for (int i = 0; i < n; i++)
		tell_range(rollup, ranges[i]);
	if (n + below == 0)
		ereport(NOTICE,
				(errmsg("rollup \"%s\" has nothing to compute", rollup->name)));
	return n + below;
}

static void
tell_at(AjRollup *rollup, AjRange range)
{
	if (rollup->source_rollup != 0)
		tell_at(aj_rollup_get(rollup->source_rollup), range);
	tell_range(rollup, range);
}

/*
 * aj_refresh_plan
 *		Say in NOTICEs what aj_refresh() would compute, and change nothing.
 */
void
aj_refresh_plan(AjRollup *rollup, const AjRefresh *refresh)
{
	if (refresh->at == AJ_NO_TIME)
		(void) tell_due(rollup, refresh->now);
	else
		tell_at(rollup, aj_rollup_bucket(rollup, refresh->at));
}
