/*-------------------------------------------------------------------------
 *
 * check_query.c
 *	  What analysis shows of a query that is to define a rollup.
 *
 * Its expressions must give the same result whenever they are computed, and
 * its columns must be such that a table can hold them.  The reasons are in
 * refuse.c.
 *
 * No state, no locks but those of looking at types.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/check_query.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/heap.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rollup/classify.h"
#include "rollup/refuse.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

static bool
is_order_dependent(const Aggref *aggregate)
{
	static const char *const names[] = {"array_agg",	   "string_agg",
										"json_agg",		   "jsonb_agg",
										"json_object_agg", "jsonb_object_agg",
										"xmlagg"};
	char *name = get_func_name(aggregate->aggfnoid);

	if (aggregate->aggorder != NIL || aggregate->aggdistinct != NIL ||
		name == NULL || aggregate->aggkind != AGGKIND_NORMAL)
		return false;
	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static bool
returns_set(Node *node)
{
	return (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcretset) ||
		(IsA(node, OpExpr) && ((OpExpr *) node)->opretset);
}

/* Forms of text that name no operator mean that of the search_path. */
static void
check_hidden_operator(Oid operator, int location)
{
	HeapTuple tuple;
	Form_pg_operator form;
	char *name;

	if (operator<FirstNormalObjectId)
		return;
	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = psprintf("%s.%s", get_namespace_name(form->oprnamespace),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	aj_refuse(AJ_REFUSE_HIDDEN_OPERATOR, location, name);
}

/* The comparison of a WHEN, or all those of a USING. */
static bool
find_operator(Node *node, void *location)
{
	if (node == NULL)
		return false;
	if (IsA(node, OpExpr))
		check_hidden_operator(((OpExpr *) node)->opno, *(int *) location);
	return IsA(node, BoolExpr) &&
		expression_tree_walker(node, find_operator, location);
}

static void
check_operators(Node *node)
{
	int location = exprLocation(node);
	ListCell *cell;

	if (IsA(node, DistinctExpr) || IsA(node, NullIfExpr))
		check_hidden_operator(((OpExpr *) node)->opno, location);
	if (IsA(node, JoinExpr) && ((JoinExpr *) node)->usingClause != NIL)
		(void) find_operator(((JoinExpr *) node)->quals, &location);
	if (!IsA(node, CaseExpr) || ((CaseExpr *) node)->arg == NULL)
		return;
	foreach (cell, ((CaseExpr *) node)->args)
		(void) find_operator((Node *) lfirst_node(CaseWhen, cell)->expr,
							 &location);
}

static bool
check_expression(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (returns_set(node))
		aj_refuse(AJ_REFUSE_SET_RETURNING, exprLocation(node), NULL);
	if (IsA(node, Aggref) && is_order_dependent((Aggref *) node))
		aj_refuse(AJ_REFUSE_ORDER_DEPENDENT, exprLocation(node),
				  get_func_name(((Aggref *) node)->aggfnoid));
	if (IsA(node, Var) && ((Var *) node)->varattno < 0)
		aj_refuse(
			AJ_REFUSE_SYSTEM_COLUMN, exprLocation(node),
			NameStr(
				SystemAttributeDefinition(((Var *) node)->varattno)->attname));
	check_operators(node);
	/* So that it is now() that is refused, not the minus before an interval. */
	(void) expression_tree_walker(node, check_expression, context);
	aj_check_immutable(node);
	return false;
}

static bool
has_earlier_namesake(const Query *query, const TargetEntry *entry)
{
	ListCell *cell;

	foreach (cell, query->targetList)
	{
		TargetEntry *other = lfirst_node(TargetEntry, cell);

		if (other->resno < entry->resno && other->resname != NULL &&
			strcmp(other->resname, entry->resname) == 0)
			return true;
	}
	return false;
}

static void
check_name(const Query *query, const TargetEntry *entry)
{
	int location = exprLocation((Node *) entry->expr);

	if (entry->resname == NULL || strcmp(entry->resname, "?column?") == 0)
		aj_refuse(AJ_REFUSE_UNNAMED, location, NULL);
	if (SystemAttributeByName(entry->resname) != NULL)
		aj_refuse(AJ_REFUSE_SYSTEM_NAME, location, entry->resname);
	if (has_earlier_namesake(query, entry))
		aj_refuse(AJ_REFUSE_DUPLICATE_NAME, location, entry->resname);
}

static void
check_type(const TargetEntry *entry)
{
	Node *expr = (Node *) entry->expr;

	if (get_typtype(exprType(expr)) == TYPTYPE_PSEUDO)
		aj_refuse(AJ_REFUSE_PSEUDO_TYPE, exprLocation(expr), entry->resname);
}

static void
check_key(const TargetEntry *entry)
{
	TypeCacheEntry *type =
		lookup_type_cache(exprType((Node *) entry->expr), TYPECACHE_LT_OPR);

	if (!OidIsValid(type->lt_opr))
		aj_refuse(AJ_REFUSE_KEY_TYPE, exprLocation((Node *) entry->expr),
				  entry->resname);
}

static void
check_select_list(const Query *query)
{
	ListCell *cell;

	foreach (cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->resjunk)
			aj_refuse(AJ_REFUSE_NOT_SELECTED,
					  exprLocation((Node *) entry->expr), NULL);
		check_name(query, entry);
		check_type(entry);
	}
	if (list_length(query->groupClause) > INDEX_MAX_KEYS)
		aj_refuse(AJ_REFUSE_TOO_MANY_KEYS, -1, NULL);
	foreach (cell, query->groupClause)
		check_key(get_sortgroupclause_tle(lfirst(cell), query->targetList));
}

/* What the analyzed query shows of its expressions and columns. */
void
aj_check_query(Query *query)
{
	(void) check_expression((Node *) query->targetList, NULL);
	(void) check_expression((Node *) query->jointree, NULL);
	check_select_list(query);
}

/* Is an entry of FROM something else than a table or a join of tables? */
static bool
is_made_up(const RangeTblEntry *rte)
{
	return rte->rtekind == RTE_SUBQUERY || rte->rtekind == RTE_FUNCTION ||
		rte->rtekind == RTE_TABLEFUNC || rte->rtekind == RTE_VALUES ||
		rte->rtekind == RTE_CTE;
}

static bool
is_called(const RangeTblEntry *rte, const char *name)
{
	return rte->rtekind == RTE_RELATION &&
		strcmp(rte->eref->aliasname, name) == 0;
}

/*
 * aj_check_tables
 *		Check what the query reads; "tables" are the nodes that name it, in
 *		the order of the entries.
 */
void
aj_check_tables(const Query *query, const List *tables)
{
	List *seen = NIL;
	ListCell *cell;

	foreach (cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);
		ListCell *other;
		int location;

		if (is_made_up(rte))
			aj_refuse(AJ_REFUSE_NOT_A_TABLE, -1, NULL);
		if (rte->rtekind != RTE_RELATION)
			continue;
		location = list_nth_node(RangeVar, tables, list_length(seen))->location;
		foreach (other, seen)
			if (is_called(lfirst(other), rte->eref->aliasname))
				aj_refuse(AJ_REFUSE_SAME_NAME, location, rte->eref->aliasname);
		seen = lappend(seen, rte);
		if (get_rel_persistence(rte->relid) == RELPERSISTENCE_TEMP)
			aj_refuse(AJ_REFUSE_TEMPORARY, location, get_rel_name(rte->relid));
	}
}
