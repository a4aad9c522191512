/*-------------------------------------------------------------------------
 *
 * tables.c
 *	  The tables that a rollup's query reads, and whether a snapshot is older
 *	  than what is in them.
 *
 * ALTER TABLE may write a table anew, with all rows marked as those of its own
 * transaction: in a snapshot from before, the table is empty.  So tables are
 * locked before the snapshot is taken; who has to wait, waits without one.
 * Partitions are not locked, as there may be thousands and most are not read:
 * whether one was written anew shows afterwards in pg_class, whose row ALTER
 * TABLE replaces.
 *
 * No state.  Locks: ACCESS SHARE on tables and views, until the end of the
 * transaction; no rights are asked for.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/tables.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteHandler.h"
#include "rollup/compute.h"
#include "rollup/tables.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static bool lock_tables_in(Node *node, List **tables);

/* A table, or a view with all that it reads; those of the list are locked. */
static void
lock_table(Oid table, List **tables)
{
	Relation relation;

	if (list_member_oid(*tables, table))
		return;
	LockRelationOid(table, AccessShareLock);
	*tables = lappend_oid(*tables, table);
	relation = try_relation_open(table, NoLock);
	if (relation == NULL)
		return; /* dropped while we waited: the query will say so */
	if (relation->rd_rel->relkind == RELKIND_VIEW)
		(void) lock_tables_in((Node *) get_view_query(relation), tables);
	relation_close(relation, NoLock);
}

static bool
lock_tables_in(Node *node, List **tables)
{
	check_stack_depth();
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		const RangeTblEntry *entry = (const RangeTblEntry *) node;

		if (entry->rtekind == RTE_RELATION)
			lock_table(entry->relid, tables);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, lock_tables_in, tables,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, lock_tables_in, tables);
}

/*
 * aj_tables_lock
 *		Lock all tables that the query of a rollup reads, behind views and the
 *		live views of other rollups, too; returns their oids.
 *
 * Errors: 55P03 after lock_timeout.
 */
List *
aj_tables_lock(const AjRollup *rollup)
{
	List *tables = NIL;

	(void) lock_tables_in((Node *) aj_compute_query(rollup), &tables);
	return tables;
}

/* Did another transaction change the table in a way the snapshot can't see? */
static bool
is_newer(Oid table, Snapshot snapshot)
{
	HeapTuple row = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	TransactionId writer;
	bool newer;

	if (!HeapTupleIsValid(row))
		return true;
	writer = HeapTupleHeaderGetXmin(row->t_data);
	newer = !TransactionIdIsCurrentTransactionId(writer) &&
		XidInMVCCSnapshot(writer, snapshot);
	ReleaseSysCache(row);
	return newer;
}

/*
 * aj_tables_newer
 *		Was one of these tables, or a partition of them, possibly written anew
 *		since a snapshot was taken?  To be asked when they have been read, and
 *		so are locked.  GRANT and the like look the same.
 */
bool
aj_tables_newer(const List *tables, Snapshot snapshot)
{
	const ListCell *table;
	const ListCell *part;

	foreach (table, tables)
		foreach (part, find_all_inheritors(lfirst_oid(table), NoLock, NULL))
		{
			CHECK_FOR_INTERRUPTS();
			if (is_newer(lfirst_oid(part), snapshot))
				return true;
		}
	return false;
}
