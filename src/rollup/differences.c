/*-------------------------------------------------------------------------
 *
 * differences.c
 *	  In what two queries of rollups differ.
 *
 * Queries are compared after analysis, as text that the server makes of their
 * parts: so neither spelling nor qualification of names counts, and what the
 * server can't tell apart is the same.  Column by column, then what they read
 * and what they leave out.
 *
 * No state, no locks but AccessShareLock on live views.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/differences.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <ctype.h>

#include "catalog/pg_type_d.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rollup/alter.h"
#include "rollup/compute.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

#define COLUMN_NAME "aggjobs_expression"

/* The text of a query that selects one expression, and groups by nothing. */
static char *
text_with(const Query *query, Expr *expr, Node *quals)
{
	Query *copy = copyObject(unconstify(Query *, query));
	ListCell *cell;

	/* How the query calls its tables does not count. */
	foreach (cell, copy->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (rte->rtekind == RTE_RELATION && rte->alias != NULL &&
			rte->alias->colnames == NIL)
			rte->alias = NULL;
	}
	copy->targetList =
		list_make1(makeTargetEntry(expr, 1, pstrdup(COLUMN_NAME), false));
	copy->groupClause = NIL;
	copy->jointree->quals = quals;
	return pg_get_querydef(copy, false);
}

static Expr *
one(void)
{
	return (Expr *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
							  Int32GetDatum(1), false, true);
}

/* The text of a query from its FROM on. */
static char *
from_text(const Query *query)
{
	char *text = text_with(query, one(), NULL);

	return strstr(text, COLUMN_NAME) + strlen(COLUMN_NAME);
}

/* A clause without white space and keyword before it. */
static char *
without_keyword(char *clause, const char *keyword)
{
	while (isspace((unsigned char) *clause))
		clause++;
	Assert(strncmp(clause, keyword, strlen(keyword)) == 0);
	return clause + strlen(keyword);
}

/* Where in the text of a query the first expression begins. */
static int
head_length(const Query *query)
{
	char *text = text_with(query, one(), NULL);

	return (int) (strchr(text, '1') - text);
}

static char *
expression_text(const Query *query, const TargetEntry *entry)
{
	char *text = text_with(query, entry->expr, NULL);
	int start = head_length(query);
	size_t tail = strlen(" AS " COLUMN_NAME) + strlen(from_text(query));

	return pnstrdup(text + start, strlen(text) - (size_t) start - tail);
}

/* What the rows have to meet, or NULL. */
static char *
where_text(const Query *query)
{
	char *text;

	if (query->jointree->quals == NULL)
		return NULL;
	text = text_with(query, one(), copyObject(query->jointree->quals));
	return without_keyword(text + strlen(text_with(query, one(), NULL)),
						   "WHERE ");
}

static const char *
part_of(const AjVersion *version, const TargetEntry *entry)
{
	if (strcmp(entry->resname, version->bucket) == 0)
		return "bucket";
	return entry->ressortgroupref != 0 ? "key" : "measure";
}

static TargetEntry *
find_column(const Query *query, const char *name)
{
	ListCell *cell;

	foreach (cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (strcmp(entry->resname, name) == 0)
			return entry;
	}
	return NULL;
}

static List *
add_difference(List *all, const char *part, const char *name,
			   const char *before, const char *after)
{
	AjDifference *difference = palloc0(sizeof(AjDifference));

	difference->part = part;
	difference->name = name;
	difference->before = before;
	difference->after = after;
	difference->change = before == NULL ? "added"
		: after == NULL					? "dropped"
										: "changed";
	return lappend(all, difference);
}

/* The same column of both queries: its role, expression and type. */
static List *
compare_column(List *all, const AjVersion *before, TargetEntry *old,
			   const AjVersion *after, TargetEntry *new)
{
	char *old_text = expression_text(before->query, old);
	char *new_text = expression_text(after->query, new);

	if (strcmp(part_of(before, old), part_of(after, new)) == 0 &&
		strcmp(old_text, new_text) == 0 &&
		exprType((Node *) old->expr) == exprType((Node *) new->expr) &&
		exprTypmod((Node *) old->expr) == exprTypmod((Node *) new->expr))
		return all;
	return add_difference(all, part_of(after, new), new->resname, old_text,
						  new_text);
}

static bool
same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

/*
 * aj_differences
 *		List of AjDifference between two queries over one source, in the order
 *		of the columns; empty if they mean the same.
 */
List *
aj_differences(const AjVersion *before, const AjVersion *after)
{
	List *all = NIL;
	ListCell *cell;
	char *from = without_keyword(from_text(before->query), "FROM ");
	char *new_from = without_keyword(from_text(after->query), "FROM ");
	char *where = where_text(before->query);
	char *new_where = where_text(after->query);

	foreach (cell, after->query->targetList)
	{
		TargetEntry *new = lfirst_node(TargetEntry, cell);
		TargetEntry *old = find_column(before->query, new->resname);

		all = old != NULL
			? compare_column(all, before, old, after, new)
			: add_difference(all, part_of(after, new), new->resname, NULL,
							 expression_text(after->query, new));
	}
	foreach (cell, before->query->targetList)
	{
		TargetEntry *old = lfirst_node(TargetEntry, cell);

		if (find_column(after->query, old->resname) == NULL)
			all = add_difference(all, part_of(before, old), old->resname,
								 expression_text(before->query, old), NULL);
	}
	if (strcmp(from, new_from) != 0)
		all = add_difference(all, "from", NULL, from, new_from);
	if (!same_text(where, new_where))
		all = add_difference(all, "where", NULL, where, new_where);
	return all;
}

/* The query of a rollup that is there. */
AjVersion
aj_version_of(const AjRollup *rollup)
{
	AjVersion version = {aj_compute_query(rollup), rollup->bucket_column};

	return version;
}

/* The query of one that may be. */
AjVersion
aj_version_defined(AjDefinition *definition)
{
	AjVersion version = {aj_live_query(definition),
						 definition->columns[definition->bucket_index].name};

	return version;
}

/* Is there a difference in this part, of this kind (NULL: of any)? */
bool
aj_differs_in(const List *differences, const char *part, const char *change)
{
	ListCell *cell;

	foreach (cell, differences)
	{
		AjDifference *difference = lfirst(cell);

		if (strcmp(difference->part, part) == 0 &&
			(change == NULL || strcmp(difference->change, change) == 0))
			return true;
	}
	return false;
}

/* Does a column mean the same in both queries? */
bool
aj_column_is_same(const List *differences, const char *name)
{
	ListCell *cell;

	foreach (cell, differences)
	{
		AjDifference *difference = lfirst(cell);

		if (difference->name != NULL && strcmp(difference->name, name) == 0)
			return false;
	}
	return true;
}
