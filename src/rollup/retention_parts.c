/*-------------------------------------------------------------------------
 *
 * retention_parts.c
 *	  Drop the partitions that hold nothing but rows to go.
 *
 * Those whose bounds end at or before the limit, at any level and the oldest
 * first, each in a piece of its own.  A default partition goes with what it
 * lies in, or never.  Rows of a partition that can't be dropped by the current
 * user, or is a foreign table, or that row security may hide rows of, are
 * deleted like others (retention_rows.c).
 *
 * Dropping needs ACCESS EXCLUSIVE on the partition and on the table that it is
 * a part of, and while we wait for that readers and writers wait for us.  So
 * it is not for long: a partition that can't be had in time is left to the
 * next run, its rows with it.  If it is the table above that is in use, nobody
 * is kept waiting for the others in that.
 *
 * A partition that foreign keys refer to is detached first, as the server
 * demands, which fails with 23503 while any row is referred to.
 *
 * State: the caller's.  Locks: those above, the table's before the
 * partition's, as DROP takes them, after those of rollups, until the end of
 * the piece.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/retention_parts.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/spi.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/source.h"
#include "miscadmin.h"
#include "rollup/capture_install.h"
#include "rollup/retention.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

typedef struct Part
{
	Oid part;
	Oid parent;
	AjRange range;
	int depth;
} Part;

/* What becomes of one partition. */
typedef struct Drop
{
	AjRetire *retire;
	const Part *part;
	bool has_parent; /* the lock on the table above */
	bool done;
} Drop;

typedef struct Parts
{
	AjRetire *retire;
	List *found; /* of Part * */
} Parts;

static AjRange
range_of(const AjRetire *retire, Oid part)
{
	return aj_capture_part_range(retire->table, part, retire->time_column,
								 aj_source_epoch(retire->table));
}

/* The oldest first; of those, a partition before the ones that lie in it. */
static int
compare_parts(const ListCell *a, const ListCell *b)
{
	const Part *x = lfirst(a);
	const Part *y = lfirst(b);

	if (x->range.to != y->range.to)
		return x->range.to > y->range.to ? 1 : -1;
	return (x->depth > y->depth) - (x->depth < y->depth);
}

static bool
may_be_dropped(Oid part)
{
	char kind = get_rel_relkind(part);

	return (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) &&
		aj_owns_table(part, GetUserId()) &&
		check_enable_rls(part, InvalidOid, true) != RLS_ENABLED;
}

/* Partitions that might go, if what lies before the wanted instant may. */
static void
find_parts(void *arg)
{
	Parts *parts = arg;
	const AjRetire *retire = parts->retire;
	List *detaching;
	ListCell *cell;

	if (get_rel_relkind(retire->table) != RELKIND_PARTITIONED_TABLE ||
		check_enable_rls(retire->table, InvalidOid, true) == RLS_ENABLED)
		return;
	foreach (cell,
			 aj_capture_parts(retire->table, retire->time_column,
							  aj_source_epoch(retire->table), &detaching))
	{
		Oid oid = lfirst_oid(cell);
		AjRange range = range_of(retire, oid);
		Part *part;

		if (range.to > retire->before || !may_be_dropped(oid))
			continue;
		part = palloc(sizeof(Part));
		part->part = oid;
		part->parent = get_partition_parent(oid, true);
		part->range = range;
		part->depth = list_length(get_partition_ancestors(oid));
		parts->found = lappend(parts->found, part);
	}
	list_sort(parts->found, compare_parts);
}

/* Is a table still the partition that was found? */
static bool
is_still(const AjRetire *retire, const Part *part)
{
	AjRange range;

	if (get_rel_name(part->part) == NULL ||
		!get_rel_relispartition(part->part) ||
		get_partition_parent(part->part, true) != part->parent)
		return false;
	range = range_of(retire, part->part);
	return range.to <= retire->limit && may_be_dropped(part->part);
}

/* Does a foreign key refer to any of these tables? */
static bool
is_referred_to(Oid part)
{
	AjSpi spi;
	bool is;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	is = aj_spi_run("SELECT FROM pg_constraint c"
					" WHERE c.contype = 'f' AND c.confrelid = $1 LIMIT 1",
					AJ_ARGS(aj_arg_oid(part))) > 0;
	aj_spi_close(&spi);
	return is;
}

/*
 * What is noted about tables that go is forgotten before: else what they lose
 * would count as changed.
 */
static void
drop_locked(Drop *drop, const List *tables)
{
	const Part *part = drop->part;
	char *name = aj_qualified_name(part->part);
	ListCell *cell;

	foreach (cell, tables)
		aj_source_delete_part(drop->retire->table, lfirst_oid(cell));
	CommandCounterIncrement();
	if (is_referred_to(part->part))
		aj_caller_command(psprintf("ALTER TABLE %s DETACH PARTITION %s",
								   aj_qualified_name(part->parent), name));
	aj_caller_command(psprintf("DROP TABLE %s", name));
	drop->done = true;
}

static void
drop_part(void *arg)
{
	Drop *drop = arg;
	AjRetire *retire = drop->retire;
	const Part *part = drop->part;
	List *tables;

	aj_retire_freeze(retire);
	if (retire->limit == AJ_NO_TIME || part->range.to > retire->limit)
		return;
	LockRelationOid(part->parent, AccessExclusiveLock);
	drop->has_parent = true;
	if (!is_still(retire, part))
		return;
	/* Detaching is for the owner of the table above, too. */
	if (is_referred_to(part->part) && !aj_owns_table(part->parent, GetUserId()))
		return;
	LockRelationOid(part->part, AccessExclusiveLock);
	if (!is_still(retire, part))
		return;
	tables = find_all_inheritors(part->part, AccessExclusiveLock, NULL);
	drop_locked(drop, tables);
}

static void
leave(AjRetire *retire, const Part *part)
{
	AjRange *range = palloc(sizeof(AjRange));

	*range = part->range;
	retire->left = lappend(retire->left, range);
}

static void
complain(AjRetire *retire, const Drop *drop, AjLimited why)
{
	retire->stopped =
		why == AJ_LIMITED_LATE ? "statement_timeout" : "lock_timeout";
	ereport(
		WARNING,
		(errmsg(
			 "partition %s is dropped by the next run: it could not be locked in time",
			 aj_qualified_name(drop->part->part)),
		 drop->has_parent
			 ? 0
			 : errdetail("Table %s, which it is a part of, is in use.",
						 aj_qualified_name(drop->part->parent))));
}

/* Partitions that were dropped with the one that they lay in are gone. */
static bool
is_gone(const Part *part)
{
	return get_rel_name(part->part) == NULL;
}

/*
 * Would we wait for the same users again?  They hold a table that this
 * partition lies in, or that lies in it.
 */
static bool
is_held_up(const Part *part, const List *held)
{
	ListCell *cell;

	if (list_member_oid(held, part->part))
		return true;
	foreach (cell, get_partition_ancestors(part->part))
		if (list_member_oid(held, lfirst_oid(cell)))
			return true;
	foreach (cell, held)
		if (list_member_oid(get_partition_ancestors(lfirst_oid(cell)),
							part->part))
			return true;
	return false;
}

static void
drop_all(AjRetire *retire, const List *parts)
{
	List *held = NIL; /* tables that others use */
	ListCell *cell;

	foreach (cell, parts)
	{
		const Part *part = lfirst(cell);
		Drop drop = {.retire = retire, .part = part};
		AjLimited done;

		if (is_gone(part))
			continue;
		if (is_held_up(part, held) || !aj_retire_may_go_on(retire))
		{
			leave(retire, part);
			continue;
		}
		done = aj_retire_piece(retire, &retire->drop_limits, drop_part, &drop);
		if (done != AJ_LIMITED_DONE)
		{
			complain(retire, &drop, done);
			leave(retire, part);
			held =
				lappend_oid(held, drop.has_parent ? part->part : part->parent);
		}
		else if (drop.done)
		{
			retire->partitions++;
			if (retire->budget != NULL)
				retire->budget->used = true;
		}
	}
}

/*
 * aj_retire_parts
 *		Drop the partitions that may go, as far as the budget reaches; false if
 *		the table is locked, and so can't even be looked at.
 */
bool
aj_retire_parts(AjRetire *retire)
{
	Parts parts = {.retire = retire};

	if (aj_retire_piece(retire, &retire->limits, find_parts, &parts) !=
		AJ_LIMITED_DONE)
	{
		retire->stopped = "lock_timeout";
		ereport(
			WARNING,
			(errmsg(
				"old rows of table %s stay until the next run: others hold locks on it",
				aj_qualified_name(retire->table))));
		return false;
	}
	drop_all(retire, parts.found);
	return true;
}
