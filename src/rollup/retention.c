/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Remove old rows without destroying what was computed from them.
 *
 * Rows of a source go only below what all of its rollups have computed, and
 * the frozen line moves up in the same transaction as the first rows go, so
 * that nothing is ever computed again from rows that are missing.  Of a table
 * of a rollup that others read, rows also stay that are going to be computed
 * again: those above would never hear of it.
 *
 * The work is done in pieces: a partition that is dropped (retention_parts.c),
 * or a batch of rows (retention_rows.c), each in its own transaction where the
 * caller allows it.
 * A budget ends the work between pieces.  A piece that waits too long for a
 * lock, or takes too long, is undone; what it was about stays until the next
 * run, and what was removed before it is gone.  The line is moved by the first
 * piece that is not undone, and never by a run that has no time for any.
 *
 * Runs with the rights of the current user, who must be able to delete from
 * the table.  Locks: those of the rollups over the table, until the end of the
 * piece that moves the line; else the server's own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/retention.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "catalog/source.h"
#include "miscadmin.h"
#include "rollup/capture_install.h"
#include "rollup/retention.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/*
 * Up to which instant, not after "wanted", rows of a rollup's source may go
 * without a loss to it: the start of a bucket, not after the horizon, nor
 * after a range that is still to be computed, unless we only want to know
 * what it would be if "all_computed".  AJ_NO_TIME if nothing may go.
 */
static TimestampTz
limit_of(const AjRollup *rollup, TimestampTz wanted, bool all_computed)
{
	TimestampTz limit = wanted;
	TimestampTz start;
	AjRange *dirty = NULL;
	int n = 0;

	if (!all_computed)
	{
		if (rollup->horizon == AJ_NO_TIME)
			return AJ_NO_TIME;
		limit = Min(limit, rollup->horizon);
		dirty = aj_dirty_of(rollup, false, &n);
	}
	for (int i = 0; i < n; i++)
	{
		/* What is frozen already is never computed again. */
		if (rollup->frozen_before == AJ_NO_TIME ||
			dirty[i].to > rollup->frozen_before)
			limit = Min(limit, dirty[i].from);
	}
	start = aj_bucket_start(&rollup->bucket, limit);
	return TIMESTAMP_IS_NOBEGIN(start) ? AJ_NO_TIME : start;
}

/*
 * The same for the rollup whose table this is, and those below it.  A change
 * climbs from level to level, each time in one transaction: who looks at the
 * lowest first can't miss it.
 */
static TimestampTz
limit_below(const AjRollup *rollup, TimestampTz wanted, bool all_computed)
{
	TimestampTz limit = wanted;

	if (rollup->source_rollup != NULL)
		limit = limit_below(aj_rollup_find(rollup->source_rollup, false),
							wanted, all_computed);
	return limit == AJ_NO_TIME ? limit : limit_of(rollup, limit, all_computed);
}

/*
 * The same for all rollups of a source; "wanted" itself if it has none.
 */
static TimestampTz
retire_limit(Oid source, TimestampTz wanted, bool all_computed)
{
	int n;
	AjRollup **rollups = aj_rollups_of(source, &n);
	AjRollup *own = aj_rollup_of_target(source);
	TimestampTz limit = wanted;

	if (n > 0 && own != NULL)
		limit = limit_below(own, limit, all_computed);
	for (int i = 0; i < n && limit != AJ_NO_TIME; i++)
		limit = limit_of(rollups[i], limit, all_computed);
	return limit;
}

/*
 * Rows of a source before an instant are gone for good: its rollups keep what
 * they have there, the bucket that holds the instant included.
 */
static void
freeze(Oid source, TimestampTz before)
{
	int n;
	AjRollup **rollups = aj_rollups_of(source, &n);

	for (int i = 0; i < n; i++)
	{
		TimestampTz line = aj_bucket_start(&rollups[i]->bucket, before);

		if (line < before)
			line = aj_bucket_end(&rollups[i]->bucket, before);
		aj_rollup_set_frozen(rollups[i], line);
	}
}

/*
 * aj_retire_freeze
 *		Find out what may go, and freeze it, unless an earlier piece has: the
 *		first thing that a piece does.
 */
void
aj_retire_freeze(AjRetire *retire)
{
	if (retire->frozen)
		return;
	if (aj_source_exists(retire->table))
	{
		/* What is known to have changed is counted in before it is frozen. */
		aj_capture_mend(retire->table);
		aj_capture_absorb(retire->table);
	}
	aj_rollup_lock_all_of(retire->table);
	retire->limit = retire_limit(retire->table, retire->before, false);
	if (retire->limit != AJ_NO_TIME)
		freeze(retire->table, retire->limit);
	retire->frozen = true;
}

/*
 * aj_retire_may_go_on
 *		Is there time for another piece?  Something is removed in any case, so
 *		that no run is in vain.
 */
bool
aj_retire_may_go_on(AjRetire *retire)
{
	const AjBudget *budget = retire->budget;

	if (budget == NULL || !budget->used || aj_now() < budget->deadline)
		return true;
	retire->stopped = "max_time";
	return false;
}

/*
 * aj_retire_piece
 *		Do a piece of the work and commit it, or nothing of it.
 */
AjLimited
aj_retire_piece(AjRetire *retire, const AjLimits *limits,
				void (*work)(void *arg), void *arg)
{
	bool frozen = retire->frozen;
	AjLimited done = AJ_LIMITED_DONE;

	CHECK_FOR_INTERRUPTS();
	if (retire->budget == NULL)
		work(arg);
	else
		done = aj_limited(limits, work, arg);
	if (done != AJ_LIMITED_DONE)
		retire->frozen = frozen;
	if (retire->commit != NULL)
		retire->commit(retire->commit_arg);
	return done;
}

/*
 * aj_retire
 *		Delete the rows of a table whose time lies before retire->before, or
 *		before what may go without a loss if that is less.
 *
 * Errors: whatever the DELETE raises, 42501 for one.
 */
void
aj_retire(AjRetire *retire)
{
	retire->limit = AJ_NO_TIME;
	retire->rows = 0;
	retire->partitions = 0;
	retire->stopped = NULL;
	retire->frozen = false;
	retire->left = NIL;
	if (retire->batch == 0)
		retire->batch = AJ_RETIRE_BATCH;
	if (pg_class_aclcheck(retire->table, GetUserId(), ACL_DELETE) !=
		ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   get_rel_name(retire->table));
	if (retire->keep_rows)
		aj_retire_freeze(retire);
	else if (aj_retire_parts(retire))
		aj_retire_rows(retire);
}

/*
 * aj_retire_line
 *		Up to where the rows of a table are to go once all is computed.  The
 *		boundaries of buckets hold some back in any case: those are no backlog.
 */
TimestampTz
aj_retire_line(const AjRetire *retire)
{
	return retire_limit(retire->table, retire->before, true);
}

/* How many rows aj_retire() would delete; changes nothing. */
int64
aj_retire_plan(AjRetire *retire)
{
	retire->limit = retire_limit(retire->table, retire->before, false);
	if (retire->limit == AJ_NO_TIME)
		return 0;
	return aj_retire_count(retire, retire->limit, PG_INT64_MAX);
}
