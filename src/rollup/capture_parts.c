/*-------------------------------------------------------------------------
 *
 * capture_parts.c
 *	  Which partitions a source has, and the time that each may hold.
 *
 * aggjobs.source_part has the partitions as they were last seen.  When one
 * comes or goes, the range of time that its bounds allow has changed, though
 * no row was written.  A partition whose bounds say nothing about the time
 * column stands for all time.
 *
 * A partition that is being detached concurrently counts as gone, as it does
 * for the plans of the server, but for those of older snapshots and those that
 * are kept.  aj_capture_parts() tells of it, for the live view's sake.
 *
 * State: the table.  What writes runs with the lock on the row of the source.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/capture_parts.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/change.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/source.h"
#include "nodes/parsenodes.h"
#include "rollup/capture_install.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

static const AjRange everything = {DT_NOBEGIN, DT_NOEND};

static PartitionBoundSpec *
bound_of(Oid part)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(part));
	PartitionBoundSpec *bound = NULL;
	Datum stored;
	bool isnull;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	stored =
		SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relpartbound, &isnull);
	if (!isnull)
		bound = castNode(PartitionBoundSpec,
						 stringToNode(TextDatumGetCString(stored)));
	ReleaseSysCache(tuple);
	return bound;
}

/* Is a table partitioned by ranges of its time column, that first of all? */
static bool
is_ranged_by(Oid table, const char *time_column)
{
	Relation rel = try_table_open(table, AccessShareLock);
	PartitionKey key;
	bool is;

	if (rel == NULL)
		return false;
	key = RelationGetPartitionKey(rel);
	is = key != NULL && key->strategy == PARTITION_STRATEGY_RANGE &&
		key->partattrs[0] == get_attnum(table, time_column);

	table_close(rel, AccessShareLock);
	return is;
}

static TimestampTz
instant_of(const PartitionRangeDatum *datum, AjEpoch epoch)
{
	const Const *value;

	if (datum->kind == PARTITION_RANGE_DATUM_MINVALUE)
		return DT_NOBEGIN;
	if (datum->kind == PARTITION_RANGE_DATUM_MAXVALUE)
		return DT_NOEND;
	value = castNode(Const, datum->value);
	return aj_axis_from_datum(value->consttype, epoch, value->constvalue);
}

/* The range of time that the bounds of one partition allow. */
static AjRange
own_range(Oid parent, Oid part, const char *time_column, AjEpoch epoch)
{
	PartitionBoundSpec *bound = bound_of(part);
	AjRange range;

	if (bound == NULL || bound->is_default ||
		!is_ranged_by(parent, time_column))
		return everything;
	range.from = instant_of(linitial(bound->lowerdatums), epoch);
	range.to = instant_of(linitial(bound->upperdatums), epoch);
	/* With further columns the upper bound itself may be in. */
	if (list_length(bound->upperdatums) > 1 && range.to < END_TIMESTAMP)
		range.to += USECS_PER_DAY;
	return range;
}

/*
 * aj_capture_part_range
 *		The range of time that the bounds of a partition, and of those that it
 *		lies in, allow; of any partitioned table.
 */
AjRange
aj_capture_part_range(Oid source, Oid part, const char *time_column,
					  AjEpoch epoch)
{
	AjRange range = everything;

	while (part != source)
	{
		Oid parent = get_partition_parent(part, true);
		AjRange own = own_range(parent, part, time_column, epoch);

		range.from = Max(range.from, own.from);
		range.to = Min(range.to, own.to);
		part = parent;
	}
	return range;
}

/*
 * Add the partitions right below a table to "attached", and the ranges of
 * those that are being detached to "detaching".
 */
static void
children_of(Oid table, const char *time_column, AjEpoch epoch, List **attached,
			List **detaching)
{
	Relation rel = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhparent, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(table));
	scan = systable_beginscan(rel, InheritsParentIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_inherits form = (Form_pg_inherits) GETSTRUCT(tuple);
		AjRange *range;

		if (!form->inhdetachpending)
		{
			*attached = lappend_oid(*attached, form->inhrelid);
			continue;
		}
		range = palloc(sizeof(AjRange));
		*range = own_range(table, form->inhrelid, time_column, epoch);
		*detaching = lappend(*detaching, range);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * aj_capture_parts
 *		The partitions of a source at all levels, whatever the snapshot; and
 *		the ranges (AjRange *) of those whose detachment has begun but not
 *		ended.
 */
List *
aj_capture_parts(Oid source, const char *time_column, AjEpoch epoch,
				 List **detaching)
{
	List *attached = NIL;

	*detaching = NIL;
	children_of(source, time_column, epoch, &attached, detaching);
	for (int i = 0; i < list_length(attached); i++)
	{
		Oid part = list_nth_oid(attached, i);

		if (get_rel_relkind(part) == RELKIND_PARTITIONED_TABLE)
			children_of(part, time_column, epoch, &attached, detaching);
	}
	return attached;
}

static bool
is_known(const AjPart *parts, int n, Oid part)
{
	for (int i = 0; i < n; i++)
		if (parts[i].part == part)
			return true;
	return false;
}

static void
note(Oid source, AjRange range)
{
	AjChange change = {.source = source, .range = range};

	if (range.from < range.to)
		aj_change_append(&change);
}

/*
 * aj_capture_sync_parts
 *		Bring aggjobs.source_part up to date, and note the ranges of
 *		partitions that have come or gone as changed.
 */
void
aj_capture_sync_parts(Oid source, const char *time_column, AjEpoch epoch)
{
	int n;
	AjPart *known;
	List *now;
	List *detaching;
	ListCell *cell;

	if (get_rel_relkind(source) != RELKIND_PARTITIONED_TABLE)
		return;
	known = aj_source_parts(source, false, &n);
	now = aj_capture_parts(source, time_column, epoch, &detaching);
	foreach (cell, now)
	{
		AjPart part = {.part = lfirst_oid(cell)};

		if (is_known(known, n, part.part))
			continue;
		part.range =
			aj_capture_part_range(source, part.part, time_column, epoch);
		aj_source_store_part(source, &part);
		note(source, part.range);
	}
	for (int i = 0; i < n; i++)
	{
		if (list_member_oid(now, known[i].part))
			continue;
		aj_source_delete_part(source, known[i].part);
		note(source, known[i].range);
	}
}
