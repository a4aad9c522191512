/*-------------------------------------------------------------------------
 *
 * refresh.c
 *	  Compute the buckets of a rollup that are due, or those asked for.
 *
 * A refresh has three parts, each in transactions of its own where the caller
 * allows it:
 *
 *	1. the capture of the source is checked, and its change rows become stale
 *	   rows of all its rollups;
 *	2. the horizon moves up to the bucket that is open now: it is published,
 *	   writers that are committing are waited for (shmem/gate.c), and what it
 *	   has passed becomes stale;
 *	3. stale ranges are computed in batches, the newest first: stale rows are
 *	   taken away, and only then is the snapshot taken in which the query
 *	   runs, so that a row whose note was taken is seen by the query, and a
 *	   note that comes later waits for the next refresh.
 *
 * doc/dev/capture.md says why the live view is right in every snapshot.  In a
 * transaction with one snapshot for all, part 2 is left out.
 *
 * A rollup over a rollup has its source refreshed first.
 *
 * Locks: that of the rollup (aj_rollup_lock; pieces of a backfill share it)
 * until the end of each transaction; who waits for it does so for ten minutes at
 * most, and who holds it waits LOCK_LIMIT for other locks.  Runs with the rights
 * of the current user, who must be able to read the source and write the target;
 * for a superuser with those of the target's owner (rollup/acting.h).
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/refresh.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/limited.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "catalog/source.h"
#include "miscadmin.h"
#include "rollup/acting.h"
#include "rollup/alter.h"
#include "rollup/batch.h"
#include "rollup/capture.h"
#include "rollup/capture_install.h"
#include "rollup/compute.h"
#include "rollup/live.h"
#include "rollup/refresh.h"
#include "rollup/tables.h"
#include "shmem/gate.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define LOCK_LIMIT 10000

static void
commit_so_far(const AjRefresh *refresh)
{
	if (refresh->commit != NULL)
		refresh->commit(refresh->commit_arg);
}

static TimestampTz
horizon_of(const AjRollup *rollup)
{
	return rollup->horizon == AJ_NO_TIME ? DT_NOBEGIN : rollup->horizon;
}

static TimestampTz
frozen_line(const AjRollup *rollup)
{
	return rollup->frozen_before == AJ_NO_TIME ? DT_NOBEGIN
											   : rollup->frozen_before;
}

static void
complain_of_loss(const AjRollup *rollup)
{
	if (aj_rollup_find(rollup->name, true) != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("rollup \"%s\" got another query while it was refreshed",
					rollup->name),
			 errhint("Refresh it again.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("rollup \"%s\" was dropped", rollup->name)));
}

/*
 * Who may not write the target must not move what we note about it either,
 * also when there is nothing to write.
 */
static void
check_rights(const AjRollup *rollup)
{
	const AclMode needed[] = {ACL_INSERT, ACL_UPDATE, ACL_DELETE};

	if (get_rel_name(rollup->target) == NULL)
		complain_of_loss(rollup);
	for (int i = 0; i < (int) lengthof(needed); i++)
	{
		if (pg_class_aclcheck(rollup->target, GetUserId(), needed[i]) ==
			ACLCHECK_OK)
			continue;
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to refresh rollup \"%s\"", rollup->name),
			 errdetail(
				 "It fills table %s, which needs INSERT, UPDATE and DELETE.",
				 rollup->target_name)));
	}
}

/* Lock the rollup, then limit the wait for all other locks. */
static int
begin_locked(AjRollup *rollup, bool (*lock)(AjRollup *rollup))
{
	int level;

	if (!lock(rollup))
		complain_of_loss(rollup);
	level = NewGUCNestLevel();
	aj_set_lock_timeout(LOCK_LIMIT);
	return level;
}

static int
begin_piece(AjRollup *rollup)
{
	return begin_locked(rollup, aj_rollup_lock);
}

static void
end_piece(int level)
{
	AtEOXact_GUC(true, level);
}

/*
 * Where the rollup below is dirty in the snapshot in which this one is going
 * to be computed, its table does not have what we read: if that is undone
 * before it is refreshed, nothing in the table tells us.  So this stays stale.
 */
static void
keep_uncertain(const AjRollup *rollup, AjRange range)
{
	AjRollup *child;
	AjRange *ranges;
	AjLive *below;
	int n;

	if (rollup->source_rollup == NULL)
		return;
	child = aj_rollup_find_in_snapshot(rollup->source_rollup);
	if (child == NULL)
	{
		aj_stale_add(rollup, range);
		return;
	}
	below = aj_live_compute(child);
	ranges = palloc(sizeof(AjRange) * (Size) (below->ndirty + 1));
	for (int i = 0; i < below->ndirty; i++)
		ranges[i] = aj_rollup_widen(rollup, below->dirty[i]);
	ranges[below->ndirty].from =
		aj_bucket_start(&rollup->bucket, below->open_from);
	ranges[below->ndirty].to = DT_NOEND;
	n = aj_ranges_tidy(ranges, below->ndirty + 1, range);
	for (int i = 0; i < n; i++)
		aj_stale_add(rollup, ranges[i]);
}

/*
 * Compute a range in one snapshot; with stale rows only what these say, if they
 * say enough.  False if a table may have been found empty (tables.c).
 */
static bool
compute_in_snapshot(AjRollup *rollup, AjRange range, const AjStale *stale,
					int n, AjApplied *applied)
{
	List *tables = aj_tables_lock(rollup);
	AjActing acting;
	bool few;
	bool complete;

	CHECK_FOR_INTERRUPTS();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	keep_uncertain(rollup, range);
	aj_acting_begin(rollup, &acting);
	few = stale != NULL && aj_wanted_find(rollup, range, stale, n);
	aj_apply(rollup, range, few, applied);
	aj_wanted_forget();
	aj_acting_end(&acting);
	complete = !aj_tables_newer(tables, GetActiveSnapshot());
	PopActiveSnapshot();
	list_free(tables);
	return complete;
}

/*
 * Compute one range, with its stale rows taken before.  Where a table was written
 * anew meanwhile, once more, in full; in a transaction with one snapshot for
 * all that is left to another refresh.
 */
static void
compute_range(AjRollup *rollup, AjRange range, AjRefresh *refresh)
{
	bool all = refresh->within != NULL || refresh->at != AJ_NO_TIME;
	AjApplied applied = {0};
	int n;
	AjStale *stale = aj_stale_take(rollup, range, &n);

	while (!compute_in_snapshot(rollup, range, all ? NULL : stale, n, &applied))
	{
		all = true;
		if (IsolationUsesXactSnapshot())
		{
			aj_stale_add(rollup, range);
			break;
		}
	}

	refresh->rows_deleted += applied.deleted;
	refresh->rows_written += applied.inserted + applied.updated;
	refresh->computed.from = refresh->ranges == 0
		? range.from
		: Min(refresh->computed.from, range.from);
	refresh->computed.to =
		refresh->ranges == 0 ? range.to : Max(refresh->computed.to, range.to);
	refresh->ranges++;
}

/* Stale rows outside of what may be computed mean nothing: forget them. */
static void
drop_outside(const AjRollup *rollup)
{
	AjRange below = {DT_NOBEGIN, frozen_line(rollup)};
	AjRange above = {Max(horizon_of(rollup), frozen_line(rollup)), DT_NOEND};
	int n;

	(void) aj_stale_take(rollup, above, &n);
	(void) aj_stale_take(rollup, below, &n);
}

/*
 * The newest stale range that is to be computed and lies below what this
 * refresh has computed already; false if there is none.  What becomes stale
 * above, meanwhile, is for the next refresh.
 */
static bool
newest_stale(const AjRollup *rollup, TimestampTz below, AjRange *newest)
{
	AjRange within = {frozen_line(rollup), Min(horizon_of(rollup), below)};
	int n;
	AjRange *ranges = aj_stale_ranges(rollup, within, &n);

	if (n > 0)
		*newest = ranges[n - 1];
	pfree(ranges);
	return n > 0;
}

/* Several small ranges may go into one transaction. */
#define PIECE_SECONDS 1.0

static bool
time_is_up(instr_time since)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, since);
	return INSTR_TIME_GET_DOUBLE(now) > PIECE_SECONDS;
}

/* One transaction's worth of stale ranges; false if there was none. */
static bool
compute_some(AjRollup *rollup, AjBatch *batch, TimestampTz *below,
			 AjRefresh *refresh)
{
	int level = begin_piece(rollup);
	instr_time since;
	AjRange stale;
	bool some = false;

	INSTR_TIME_SET_CURRENT(since);
	while (newest_stale(rollup, *below, &stale))
	{
		AjRange range = aj_batch_next(batch, stale);

		compute_range(rollup, range, refresh);
		aj_batch_done(batch, range);
		*below = range.from;
		some = true;
		if (time_is_up(since))
			break;
	}
	if (!some)
		drop_outside(rollup);
	end_piece(level);
	return some;
}

static bool
any_stale(const AjRollup *rollup)
{
	AjRange all = {DT_NOBEGIN, DT_NOEND};
	int n;

	(void) aj_stale_ranges(rollup, all, &n);
	return n > 0;
}

static void
compute_stale(AjRollup *rollup, AjRefresh *refresh)
{
	AjBatch batch;
	TimestampTz below = DT_NOEND;

	if (!any_stale(rollup))
		return;
	aj_batch_begin(&batch, rollup);
	while (compute_some(rollup, &batch, &below, refresh))
		commit_so_far(refresh);
	commit_so_far(refresh);
}

/* Where the horizon may go: the start of the bucket that is open. */
static TimestampTz
next_horizon(const AjRollup *rollup, TimestampTz now)
{
	TimestampTz until = now;

	if (rollup->source_rollup != NULL)
	{
		AjRollup *child = aj_rollup_find(rollup->source_rollup, false);

		until = Min(until, horizon_of(child));
	}
	if (TIMESTAMP_NOT_FINITE(until))
		return until;
	return aj_bucket_start(&rollup->bucket, until);
}

/*
 * After a start of the server nobody has published a horizon, and writers log
 * all that they write.
 */
static void
tell_writers(const AjRollup *rollup, TimestampTz horizon)
{
	if (rollup->lookback == 0 && !TIMESTAMP_IS_NOBEGIN(horizon) &&
		aj_gate_horizon(rollup->source) == AJ_GATE_UNKNOWN)
		aj_gate_publish(rollup->source,
						aj_rollup_greatest_horizon(rollup->source));
}

/*
 * From here on writers log what they write below "next", and those who did
 * not know of it have ended.  What is published must not lie below the horizon
 * of any other rollup of the source.
 */
static void
raise_gate(const AjRollup *rollup, TimestampTz next)
{
	TimestampTz others = aj_rollup_greatest_horizon(rollup->source);

	aj_gate_publish(rollup->source, Max(next, others));
	aj_gate_wait();
}

/* Move the horizon, and let what it has passed be stale. */
static void
advance(AjRollup *rollup, AjRefresh *refresh)
{
	TimestampTz next = next_horizon(rollup, refresh->now);
	AjRange passed;
	int level;

	if (IsolationUsesXactSnapshot())
		return;
	if (next <= horizon_of(rollup))
	{
		tell_writers(rollup, horizon_of(rollup));
		return;
	}
	level = begin_piece(rollup);
	if (next > horizon_of(rollup))
	{
		passed.from = Max(horizon_of(rollup), frozen_line(rollup));
		passed.to = next;
		if (rollup->lookback == 0)
		{
			raise_gate(rollup, next);
			aj_capture_horizon_raised();
		}
		aj_stale_add(rollup, passed);
		aj_rollup_set_horizon(rollup, next);
		rollup->horizon = next;
	}
	end_piece(level);
	commit_so_far(refresh);
}

/* The last buckets of a rollup whose source is not captured. */
static void
look_back(AjRollup *rollup, AjRefresh *refresh)
{
	AjRange range = {rollup->horizon, rollup->horizon};
	int level;

	if (rollup->horizon == AJ_NO_TIME)
		return;
	for (int i = 0; i < rollup->lookback; i++)
		range.from = aj_bucket_start(&rollup->bucket, range.from - 1);
	range.from = Max(range.from, frozen_line(rollup));
	level = begin_piece(rollup);
	aj_stale_add(rollup, range);
	end_piece(level);
}

/* Put the capture of the source right, and turn its changes into stale rows. */
static void
take_in_changes(const AjRollup *rollup, const AjRefresh *refresh)
{
	if (rollup->lookback > 0)
		return;
	aj_capture_mend(rollup->source);
	aj_capture_absorb(rollup->source);
	commit_so_far(refresh);
}

/* All that was due of a successor is computed: it replaces the old rollup. */
static void
take_place(AjRollup *successor, AjRefresh *refresh)
{
	AjRollup *old = aj_rollup_find(successor->replaces, true);
	int level;

	if (old == NULL)
		return;
	/* Rows of sources are locked before those of rollups. */
	if (old->lookback == 0)
		aj_source_lock(old->source);
	aj_source_lock(old->target);
	level = begin_piece(old);
	if (aj_rollup_lock(successor) && !aj_rollup_succeed(old, successor))
		ereport(
			NOTICE,
			(errmsg(
				 "rollup \"%s\" is computed, but \"%s\", whose place it is to take, is being read",
				 successor->name, old->name),
			 errhint("The next refresh tries again.")));
	end_piece(level);
	commit_so_far(refresh);
}

static void
refresh_due(AjRollup *rollup, AjRefresh *refresh)
{
	if (rollup->source_rollup != NULL)
		refresh_due(aj_rollup_find(rollup->source_rollup, false), refresh);
	check_rights(rollup);
	take_in_changes(rollup, refresh);
	advance(rollup, refresh);
	if (rollup->lookback > 0)
		look_back(rollup, refresh);
	compute_stale(rollup, refresh);
	if (rollup->replaces != NULL && !IsolationUsesXactSnapshot())
		take_place(rollup, refresh);
}

/* Compute a range whether it is stale or not, and that of its sources. */
static void
refresh_range(AjRollup *rollup, AjRange range, AjRefresh *refresh)
{
	AjRange own = aj_rollup_widen(rollup, range);
	int level;

	if (rollup->source_rollup != NULL)
		refresh_range(aj_rollup_find(rollup->source_rollup, false), own,
					  refresh);
	check_rights(rollup);
	take_in_changes(rollup, refresh);
	level = begin_piece(rollup);
	own.from = Max(own.from, frozen_line(rollup));
	if (own.from < own.to)
		compute_range(rollup, own, refresh);
	end_piece(level);
	commit_so_far(refresh);
}

/* The bucket of an instant must not be frozen. */
static void
check_not_frozen(const AjRollup *rollup, AjRange bucket)
{
	if (bucket.from >= frozen_line(rollup))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rollup \"%s\" can't be computed before %s", rollup->name,
					timestamptz_to_str(rollup->frozen_before)),
			 errdetail("The raw rows of the time before were retired.")));
}

/*
 * aj_refresh
 *		Compute the stale buckets of a rollup that have ended; or, if
 *		refresh->at is given, the bucket of that instant, ended or not; or, if
 *		refresh->within is given, all buckets in that range; its sources first.
 *
 * Leaves the last transaction open, for the caller to add the result to.
 * Errors: 55000 if the bucket asked for is frozen, or changes of the source
 * can't be captured; 42501; whatever the query raises.
 */
void
aj_refresh(AjRollup *rollup, AjRefresh *refresh)
{
	AjRange range;

	refresh->ranges = 0;
	refresh->rows_deleted = 0;
	refresh->rows_written = 0;
	if (refresh->within != NULL)
	{
		refresh_range(rollup, *refresh->within, refresh);
		return;
	}
	if (refresh->at == AJ_NO_TIME)
	{
		refresh_due(rollup, refresh);
		return;
	}
	range = aj_rollup_bucket(rollup, refresh->at);
	check_not_frozen(rollup, range);
	refresh_range(rollup, range, refresh);
}

/*
 * aj_refresh_reaches
 *		Up to where a refresh of a rollup, and of those below it, would compute.
 */
TimestampTz
aj_refresh_reaches(const AjRollup *rollup, TimestampTz now)
{
	TimestampTz until = now;

	if (rollup->source_rollup != NULL)
		until = aj_refresh_reaches(aj_rollup_find(rollup->source_rollup, false),
								   now);
	return Max(aj_bucket_start(&rollup->bucket, until), horizon_of(rollup));
}

/*
 * aj_refresh_prepare
 *		What is to be done once before ranges of a rollup are computed by
 *		several processes at once: changes are taken in, the horizon moves up,
 *		and stale ranges are cut where these, in order and without gaps, meet.
 */
void
aj_refresh_prepare(AjRollup *rollup, AjRefresh *refresh, const AjRange *ranges,
				   int n)
{
	int level;

	check_rights(rollup);
	take_in_changes(rollup, refresh);
	advance(rollup, refresh);
	level = begin_piece(rollup);
	aj_stale_cut(rollup, ranges, n);
	end_piece(level);
}

/*
 * aj_refresh_piece
 *		Compute a range of whole buckets, stale or not, while others compute
 *		others; what is frozen or open is left out.  The last transaction is
 *		left open.
 */
void
aj_refresh_piece(AjRollup *rollup, AjRange range, AjRefresh *refresh)
{
	int level;

	check_rights(rollup);
	take_in_changes(rollup, refresh);
	level = begin_locked(rollup, aj_rollup_lock_shared);
	range.from = Max(range.from, frozen_line(rollup));
	range.to = Min(range.to, horizon_of(rollup));
	refresh->within = &range;
	if (range.from < range.to)
		compute_range(rollup, range, refresh);
	refresh->within = NULL;
	end_piece(level);
}

/*
 * aj_refresh_cut
 *		Cut what is stale in a range, which the caller alone computes, at an
 *		instant: from then on two may compute its parts.
 */
void
aj_refresh_cut(AjRollup *rollup, AjRange range, TimestampTz at)
{
	const AjRange parts[] = {{range.from, at}, {at, range.to}};
	int level;

	check_rights(rollup);
	level = begin_locked(rollup, aj_rollup_lock_shared);
	aj_stale_cut(rollup, parts, lengthof(parts));
	end_piece(level);
}

static void
tell_range(const AjRollup *rollup, AjRange range)
{
	char *from = pstrdup(timestamptz_to_str(range.from));

	ereport(NOTICE,
			(errmsg("rollup \"%s\" would compute from %s to before %s",
					rollup->name, from, timestamptz_to_str(range.to))));
}

/* Tell what is due; returns how many ranges, those of the sources included. */
static int
tell_due(AjRollup *rollup, TimestampTz now)
{
	AjRange within;
	AjRange *ranges;
	int n;
	int below = 0;

	if (rollup->source_rollup != NULL)
	{
		AjRollup *child = aj_rollup_find(rollup->source_rollup, false);

		below = tell_due(child, now);
		if (below > 0)
			ereport(
				NOTICE,
				(errmsg("rollup \"%s\" would compute the buckets that these "
						"changes of \"%s\" fall into, if they have ended",
						rollup->name, child->name)));
	}
	within.from = frozen_line(rollup);
	within.to = next_horizon(rollup, now);
	ranges = aj_due_ranges(rollup, within, &n);
	for (int i = n - 1; i >= 0; i--)
		tell_range(rollup, ranges[i]);
	if (n + below == 0)
		ereport(NOTICE,
				(errmsg("rollup \"%s\" has nothing to compute", rollup->name)));
	return n + below;
}

static void
tell_at(AjRollup *rollup, AjRange range)
{
	if (rollup->source_rollup != NULL)
		tell_at(aj_rollup_find(rollup->source_rollup, false), range);
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
