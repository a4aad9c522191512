/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The one place that knows what differs between PostgreSQL 15 and 18.
 *
 * Every file of the project includes this first; it brings in postgres.h.
 * No other file tests PG_VERSION_NUM.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/compat.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef AJ_BASE_COMPAT_H
#define AJ_BASE_COMPAT_H

#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "pg_aggjobs needs PostgreSQL 15 to 18"
#endif

/* 16 replaced the ownership checks of each catalog by one function. */
#if PG_VERSION_NUM >= 160000
#define aj_owns_extension(oid, role) \
	object_ownercheck(ExtensionRelationId, (oid), (role))
#define aj_owns_database(oid, role) \
	object_ownercheck(DatabaseRelationId, (oid), (role))
#define aj_owns_table(oid, role) \
	object_ownercheck(RelationRelationId, (oid), (role))
#define aj_database_aclcheck(oid, role, mode) \
	object_aclcheck(DatabaseRelationId, (oid), (role), (mode))
#else
#define aj_owns_extension(oid, role) pg_extension_ownercheck((oid), (role))
#define aj_owns_database(oid, role) pg_database_ownercheck((oid), (role))
#define aj_owns_table(oid, role) pg_class_ownercheck((oid), (role))
#define aj_database_aclcheck(oid, role, mode) \
	pg_database_aclcheck((oid), (role), (mode))
#endif

/*
 * 16 told apart what a member of a role may do: to have its rights, and to
 * become it.  A job runs as its owner, so who changes it must be able to do
 * both.
 */
#if PG_VERSION_NUM >= 160000
#define aj_can_become(member, role) member_can_set_role((member), (role))
#else
#define aj_can_become(member, role) is_member_of_role((member), (role))
#endif

/* 17 gave processes a number of their own; before, it was in PGPROC. */
#if PG_VERSION_NUM >= 170000
#define AJ_MY_PROC_NUMBER ((int) MyProcNumber)
#else
#define AJ_MY_PROC_NUMBER (MyProc->pgprocno)
#endif

/* 16 gave what is counted of a table other names. */
#if PG_VERSION_NUM >= 160000
#define aj_rows_counted(status) \
	((status)->counts.tuples_returned + (status)->counts.tuples_fetched)
#else
#define aj_rows_counted(status) \
	((status)->t_counts.t_tuples_returned + (status)->t_counts.t_tuples_fetched)
#endif

/* 17 lets an extension name what it waits for. */
#if PG_VERSION_NUM >= 170000
#define aj_wait_event(name) WaitEventExtensionNew(name)
#else
#define aj_wait_event(name) ((uint32) PG_WAIT_EXTENSION)
#endif

/* 16 added a way to get errors softly, which we do not use. */
#if PG_VERSION_NUM >= 160000
#define aj_qualified_name_list(name) stringToQualifiedNameList((name), NULL)
#else
#define aj_qualified_name_list(name) stringToQualifiedNameList(name)
#endif

#if PG_VERSION_NUM >= 160000
#define aj_parse_type(text, type, typmod) \
	((void) parseTypeString((text), (type), (typmod), NULL))
#else
#define aj_parse_type(text, type, typmod) \
	parseTypeString((text), (type), (typmod), false)
#endif

/* 18 runs every portal once. */
#if PG_VERSION_NUM >= 180000
#define aj_portal_run(portal, dest, qc) \
	PortalRun((portal), FETCH_ALL, true, (dest), (dest), (qc))
#else
#define aj_portal_run(portal, dest, qc) \
	PortalRun((portal), FETCH_ALL, true, true, (dest), (dest), (qc))
#endif

/* 16 lets flattened expressions be marked as nullable by outer joins. */
#if PG_VERSION_NUM >= 160000
#define aj_flatten_join_aliases(query, node) \
	flatten_join_alias_vars(NULL, (query), (node))
#else
#define aj_flatten_join_aliases(query, node) \
	flatten_join_alias_vars((query), (node))
#endif

/*
 * 18 has an entry of FROM for what is grouped by, and the select list refers
 * to that.  Put the expressions back in their places.
 */
#if PG_VERSION_NUM >= 180000
static inline void
aj_flatten_groups(Query *query)
{
	ListCell *cell;

	if (!query->hasGroupRTE)
		return;
	/* The server would forget where a column stands in the text. */
	foreach (cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Var *var = (Var *) entry->expr;
		RangeTblEntry *rte;

		if (!IsA(var, Var) || var->varlevelsup != 0)
			continue;
		rte = list_nth_node(RangeTblEntry, query->rtable, var->varno - 1);
		if (rte->rtekind == RTE_GROUP)
			entry->expr =
				copyObject(list_nth(rte->groupexprs, var->varattno - 1));
	}
	query->targetList =
		(List *) flatten_group_exprs(NULL, query, (Node *) query->targetList);
}
#else
#define aj_flatten_groups(query) ((void) 0)
#endif

/* 17 lets the expression of a generated column be replaced. */
#if PG_VERSION_NUM >= 170000
#define aj_sets_expression(command) ((command)->subtype == AT_SetExpression)
#else
#define aj_sets_expression(command) ((void) (command), false)
#endif

/* Where in its text a raw constant stands; 18 also knows it of lists of them. */
static inline void
aj_forget_place(Node *node)
{
	if (IsA(node, A_Const))
		((A_Const *) node)->location = -1;
#if PG_VERSION_NUM >= 180000
	if (IsA(node, A_ArrayExpr))
		((A_ArrayExpr *) node)->list_start = -1;
	if (IsA(node, A_Expr))
		((A_Expr *) node)->rexpr_list_start = -1;
#endif
}

/* 18 has NOT NULL constraints that hold for new rows only. */
#if PG_VERSION_NUM >= 180000
#define aj_holds_no_null(desc, column)                            \
	(TupleDescCompactAttr((desc), (column) -1)->attnullability == \
	 ATTNULLABLE_VALID)
#else
#define aj_holds_no_null(desc, column) \
	(TupleDescAttr((desc), (column) -1)->attnotnull)
#endif

/* 18 has a word for it that must come first. */
#if PG_VERSION_NUM >= 180000
#define AJ_NORETURN pg_noreturn
#else
#define AJ_NORETURN pg_attribute_noreturn()
#endif

/* 18 knows primary keys that are deferrable, which find nothing. */
#if PG_VERSION_NUM >= 180000
#define aj_primary_key_index(rel) RelationGetPrimaryKeyIndex((rel), false)
#else
#define aj_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/* 17 put the password and login checks of a background worker behind flags. */
#define AJ_WORKER_CONNECT_FLAGS 0

#endif /* AJ_BASE_COMPAT_H */
