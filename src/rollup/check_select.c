/*-------------------------------------------------------------------------
 *
 * check_select.c
 *	  What can be seen in the text of a query that is to define a rollup.
 *
 * These checks go before the analysis, so that a refusal points at what was
 * written and not at what the server made of it.  The reasons are in refuse.c.
 *
 * No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/check_select.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "nodes/nodeFuncs.h"
#include "rollup/classify.h"
#include "rollup/refuse.h"

static bool
find_start(Node *node, void *start)
{
	int location;

	if (node == NULL)
		return false;
	location = exprLocation(node);
	if (location >= 0 && (*(int *) start < 0 || location < *(int *) start))
		*(int *) start = location;
	return raw_expression_tree_walker(node, find_start, start);
}

/* The least location in a part of a parse tree, -1 if it has none. */
static int
start_of(const void *node)
{
	int start = -1;

	(void) find_start(unconstify(void *, node), &start);
	return start;
}

static bool
has_grouping_set(const List *group)
{
	ListCell *cell;

	foreach (cell, group)
		if (IsA(lfirst(cell), GroupingSet))
			return true;
	return false;
}

static const List *
locked_tables(const SelectStmt *select)
{
	if (select->lockingClause == NIL)
		return NIL;
	return linitial_node(LockingClause, select->lockingClause)->lockedRels;
}

static void
check_clauses(const SelectStmt *select)
{
	const struct
	{
		bool found;
		AjReason reason;
		const void *where;
	} checks[] = {
		{select->withClause != NULL, AJ_REFUSE_WITH, select->withClause},
		{select->op != SETOP_NONE, AJ_REFUSE_SET_OPERATION, select->rarg},
		{select->valuesLists != NIL, AJ_REFUSE_VALUES, select->valuesLists},
		{select->intoClause != NULL, AJ_REFUSE_INTO, select->intoClause},
		{select->lockingClause != NIL, AJ_REFUSE_LOCKING,
		 locked_tables(select)},
		{select->sortClause != NIL, AJ_REFUSE_ORDER_BY, select->sortClause},
		{select->limitCount != NULL, AJ_REFUSE_LIMIT, select->limitCount},
		{select->limitOffset != NULL, AJ_REFUSE_LIMIT, select->limitOffset},
		{select->distinctClause != NIL, AJ_REFUSE_DISTINCT, select->targetList},
		{select->windowClause != NIL, AJ_REFUSE_WINDOW, select->windowClause},
		{has_grouping_set(select->groupClause), AJ_REFUSE_GROUPING_SETS,
		 select->groupClause},
		{select->havingClause != NULL, AJ_REFUSE_HAVING, select->havingClause},
		{select->groupClause == NIL, AJ_REFUSE_NO_GROUP_BY, NULL},
		{select->fromClause == NIL, AJ_REFUSE_NO_FROM, NULL},
	};

	for (int i = 0; i < (int) lengthof(checks); i++)
		if (checks[i].found)
			aj_refuse(checks[i].reason, start_of(checks[i].where), NULL);
}

/* A subquery in FROM: VALUES is one, too. */
static AjReason
reason_against(const RangeSubselect *from)
{
	const SelectStmt *query = (const SelectStmt *) from->subquery;

	if (IsA(query, SelectStmt) && query->valuesLists != NIL)
		return AJ_REFUSE_NOT_A_TABLE;
	return AJ_REFUSE_SUBQUERY;
}

static bool
check_node(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, ParamRef))
		aj_refuse(AJ_REFUSE_PARAMETER, start_of(node), NULL);
	if (IsA(node, SubLink))
		aj_refuse(AJ_REFUSE_SUBQUERY, start_of(node), NULL);
	if (IsA(node, RangeSubselect))
		aj_refuse(reason_against((RangeSubselect *) node), start_of(node),
				  NULL);
	if (IsA(node, RangeFunction) || IsA(node, RangeTableFunc))
		aj_refuse(AJ_REFUSE_NOT_A_TABLE, start_of(node), NULL);
	if (IsA(node, RangeTableSample))
		aj_refuse(AJ_REFUSE_TABLESAMPLE, start_of(node), NULL);
	if (IsA(node, JoinExpr) && ((JoinExpr *) node)->alias != NULL)
		aj_refuse(AJ_REFUSE_JOIN_ALIAS, start_of(node), NULL);
	if (IsA(node, FuncCall) && ((FuncCall *) node)->over != NULL)
		aj_refuse(AJ_REFUSE_WINDOW, start_of(node), NULL);
	if (IsA(node, SQLValueFunction))
		aj_refuse(AJ_REFUSE_CURRENT_TIME, start_of(node), NULL);
	return raw_expression_tree_walker(node, check_node, context);
}

/* What the text of a SELECT shows. */
void
aj_check_select(const SelectStmt *select)
{
	check_clauses(select);
	(void) check_node((Node *) unconstify(SelectStmt *, select), NULL);
}

static bool
collect_table(Node *node, void *tables)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeVar))
	{
		*(List **) tables = lappend(*(List **) tables, node);
		return false;
	}
	return raw_expression_tree_walker(node, collect_table, tables);
}

/*
 * The tables in FROM, as RangeVars.  Analysis gives them their entries in the
 * same order, since nothing else may be in FROM.
 */
List *
aj_tables_in_from(const SelectStmt *select)
{
	List *tables = NIL;

	(void) collect_table((Node *) select->fromClause, &tables);
	return tables;
}
