/*-------------------------------------------------------------------------
 *
 * check_source.c
 *	  Can changes of a table be captured, and may the current user read it?
 *
 * With a lookback nothing is captured, and all that can be read will do.  The
 * reasons are in refuse.c.
 *
 * No state, no locks but those of looking at tables.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/check_source.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/partition.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/source.h"
#include "miscadmin.h"
#include "rollup/classify.h"
#include "rollup/refuse.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static FormData_pg_class
class_of(Oid table)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	FormData_pg_class class;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", table);
	class = *(Form_pg_class) GETSTRUCT(tuple);
	ReleaseSysCache(tuple);
	return class;
}

static bool
inherits(Oid table, const FormData_pg_class *class)
{
	if (class->relkind == RELKIND_PARTITIONED_TABLE || class->relispartition)
		return false;
	return has_subclass(table) || has_superclass(table);
}

/* Tables of ours that are not for the user's data. */
static bool
is_bookkeeping(Oid table, const FormData_pg_class *class)
{
	const char *name = NameStr(class->relname);

	if (class->relnamespace != get_namespace_oid("aggjobs", true))
		return false;
	return strcmp(name, "execution_spans") != 0 &&
		strcmp(name, "user_activity_events") != 0 &&
		aj_rollup_of_target(table) == NULL;
}

/* A table and its partitions can't both be sources. */
static void
check_overlap(Oid table, Oid other, int location)
{
	if (other != table && aj_source_exists(other))
		aj_refuse(AJ_REFUSE_OVERLAPPING_SOURCE, location, get_rel_name(other));
}

static void
check_ancestors(Oid table, int location)
{
	ListCell *cell;

	if (!get_rel_relispartition(table))
		return;
	foreach (cell, get_partition_ancestors(table))
		check_overlap(table, lfirst_oid(cell), location);
}

/* Foreign tables have no index, and unlogged ones are emptied by a crash. */
static void
check_partitions(Oid table, int location)
{
	List *tables = find_all_inheritors(table, NoLock, NULL);
	ListCell *cell;

	foreach (cell, tables)
	{
		Oid part = lfirst_oid(cell);

		check_overlap(table, part, location);
		if (get_rel_relkind(part) == RELKIND_FOREIGN_TABLE ||
			get_rel_persistence(part) != RELPERSISTENCE_PERMANENT)
			aj_refuse(AJ_REFUSE_FOREIGN_PARTITION, location,
					  get_rel_name(part));
	}
}

static void
check_capture(const RangeTblEntry *rte, const FormData_pg_class *class,
			  int location)
{
	const char *name = NameStr(class->relname);

	if (class->relkind != RELKIND_RELATION &&
		class->relkind != RELKIND_PARTITIONED_TABLE)
		aj_refuse(AJ_REFUSE_NEEDS_LOOKBACK, location, name);
	if (class->relpersistence == RELPERSISTENCE_UNLOGGED)
		aj_refuse(AJ_REFUSE_UNLOGGED, location, name);
	if (!rte->inh)
		aj_refuse(AJ_REFUSE_ONLY, location, name);
	if (inherits(rte->relid, class))
		aj_refuse(AJ_REFUSE_INHERITANCE, location, name);
	check_ancestors(rte->relid, location);
	check_partitions(rte->relid, location);
	if (class->relrowsecurity && class->relforcerowsecurity)
		aj_refuse(AJ_REFUSE_ROW_SECURITY, location, name);
	if (!has_privs_of_role(GetUserId(), class->relowner))
		aj_refuse(AJ_REFUSE_NOT_OWNER, location, name);
}

/*
 * aj_check_source
 *		Can changes of a table be captured; or is that not asked for?
 *		"location" is where the query names it.
 */
void
aj_check_source(const RangeTblEntry *rte, int lookback, int location)
{
	FormData_pg_class class = class_of(rte->relid);

	if (IsCatalogRelationOid(rte->relid))
		aj_refuse(AJ_REFUSE_SYSTEM_TABLE, location, NameStr(class.relname));
	if (aj_rollup_of_live(rte->relid) != NULL)
		aj_refuse(AJ_REFUSE_LIVE_VIEW, location, NameStr(class.relname));
	if (is_bookkeeping(rte->relid, &class))
		aj_refuse(AJ_REFUSE_BOOKKEEPING, location, NameStr(class.relname));
	if (lookback == 0)
		check_capture(rte, &class, location);
}

/* Is a column of a table, which is locked, known to hold no NULL? */
bool
aj_is_not_null(Oid table, AttrNumber column)
{
	Relation rel = table_open(table, NoLock);
	bool not_null = aj_holds_no_null(RelationGetDescr(rel), column);

	table_close(rel, NoLock);
	return not_null;
}

/* Is a column generated when it is read? */
bool
aj_is_virtual(Oid table, AttrNumber column)
{
	char generated = get_attgenerated(table, column);

	return generated != '\0' && generated != ATTRIBUTE_GENERATED_STORED;
}

static bool
may_read_columns(Oid table, const Bitmapset *columns)
{
	int column = -1;

	if (bms_is_empty(columns))
		return pg_attribute_aclcheck_all(table, GetUserId(), ACL_SELECT,
										 ACLMASK_ANY) == ACLCHECK_OK;
	while ((column = bms_next_member(columns, column)) >= 0)
		if (pg_attribute_aclcheck(table, (AttrNumber) column, GetUserId(),
								  ACL_SELECT) != ACLCHECK_OK)
			return false;
	return true;
}

/*
 * aj_check_may_read
 *		May the current user, who will own the live view, read these columns
 *		of a table?  Errors: 42501.
 */
void
aj_check_may_read(Oid table, const Bitmapset *columns)
{
	AclResult result = pg_class_aclcheck(table, GetUserId(), ACL_SELECT);

	if (result != ACLCHECK_OK && !may_read_columns(table, columns))
		aclcheck_error(result, get_relkind_objtype(get_rel_relkind(table)),
					   get_rel_name(table));
}
