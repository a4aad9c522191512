/*-------------------------------------------------------------------------
 *
 * live_view.c
 *	  Makes the live view of a rollup.
 *
 * It is the union of three branches, in this order:
 *
 *		the target's rows of clean buckets;
 *		the query over the source, for each dirty bucket and each that is open;
 *		the query over the source, for all that lies beyond these.
 *
 * The last is where refreshes find the query (compute.c).  The branches are
 * made from the parse tree of the user's query, never by pasting its text;
 * only the frames around it are text of ours.  Over a rollup, the query reads
 * that one's live view.
 *
 * No state.  Locks are those of CREATE VIEW.  The view belongs to the current
 * user.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/live_view.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "commands/view.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "rollup/define.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"

static SelectStmt *
parse_frame(const char *sql)
{
	List *statements = raw_parser(sql, RAW_PARSE_DEFAULT);

	return castNode(SelectStmt, linitial_node(RawStmt, statements)->stmt);
}

static const char *
type_name(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY);
}

static char *
column_list(const AjDefinition *definition, const char *alias,
			const char *instead_of_bucket)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < definition->ncolumns; i++)
	{
		const AjColumn *column = &definition->columns[i];

		if (i > 0)
			appendStringInfoString(&text, ", ");
		if (column->role == AJ_COLUMN_BUCKET && instead_of_bucket != NULL)
			appendStringInfo(&text, "%s AS ", instead_of_bucket);
		else
			appendStringInfo(&text, "%s.", alias);
		appendStringInfoString(&text, quote_identifier(column->name));
	}
	return text.data;
}

/*
 * By its table a rollup is known whatever it is called, also in a snapshot
 * from before it took the place of another.
 */
static const char *
target_constant(const AjRollup *rollup)
{
	return psprintf("%s::pg_catalog.regclass",
					quote_literal_cstr(rollup->target_name));
}

/* SELECT ... FROM target WHERE its bucket is clean */
static SelectStmt *
clean_branch(const AjRollup *rollup, const AjDefinition *definition)
{
	const char *bucket = quote_identifier(rollup->bucket_column);
	const char *target = target_constant(rollup);

	return parse_frame(psprintf(
		"SELECT %s FROM %s t WHERE t.%s OPERATOR(pg_catalog.<)"
		" aggjobs.open_from(%s, NULL::%s) AND aggjobs.is_clean(%s, t.%s)",
		column_list(definition, "t", NULL), rollup->target_name, bucket, target,
		type_name(rollup->bucket_type), target, bucket));
}

/* time OPERATOR bound, the latter a piece of text of ours */
static Node *
time_compared(const AjDefinition *definition, const char *operator,
			  const char * bound)
{
	SelectStmt *frame = parse_frame(
		psprintf("SELECT %s.%s OPERATOR(pg_catalog.%s) %s",
				 quote_identifier(definition->source_alias),
				 quote_identifier(definition->time_name), operator, bound));

	return linitial_node(ResTarget, frame->targetList)->val;
}

static void
add_condition(SelectStmt *select, Node *condition)
{
	if (select->whereClause == NULL)
		select->whereClause = condition;
	else
		select->whereClause = (Node *) makeBoolExpr(
			AND_EXPR, list_make2(select->whereClause, condition), -1);
}

/*
 * A name that stands nowhere in the query.  What is outside of a LATERAL
 * subquery can be seen in it, and must not be taken for what is meant there.
 */
static char *
unused_name(const AjDefinition *definition, const char *base)
{
	char *query = asc_tolower(definition->query, strlen(definition->query));
	char *name = pstrdup(base);

	while (strstr(query, name) != NULL)
		name = psprintf("%s_", name);
	return name;
}

/* A name of ours, "table.column", as a raw expression. */
static Node *
our_column(const char *table, const char *column)
{
	SelectStmt *frame = parse_frame(psprintf("SELECT %s.%s", table, column));

	return linitial_node(ResTarget, frame->targetList)->val;
}

static bool
mentions(Node *node, void *name)
{
	if (node == NULL)
		return false;
	if (IsA(node, ColumnRef))
	{
		Node *last = llast(((ColumnRef *) node)->fields);

		return IsA(last, String) && strcmp(strVal(last), name) == 0;
	}
	return raw_expression_tree_walker(node, mentions, name);
}

/* May the bucket be given from outside?  Not if others are made of it. */
static bool
only_bucket_has_time(const AjDefinition *definition)
{
	const AjColumn *bucket = &definition->columns[definition->bucket_index];
	List *targets = definition->select->targetList;

	if (bucket->type != definition->bucket.time_type ||
		list_length(targets) != definition->ncolumns)
		return false;
	for (int i = 0; i < definition->ncolumns; i++)
		if (i != definition->bucket_index &&
			mentions(list_nth(targets, i), definition->time_name))
			return false;
	return true;
}

static List *
group_by_numbers(const AjDefinition *definition)
{
	List *numbers = NIL;

	for (int i = 0; i < definition->ncolumns; i++)
	{
		A_Const *number;

		if (definition->columns[i].role == AJ_COLUMN_MEASURE)
			continue;
		number = makeNode(A_Const);
		number->val.ival.type = T_Integer;
		number->val.ival.ival = i + 1;
		number->location = -1;
		numbers = lappend(numbers, number);
	}
	return numbers;
}

/*
 * Within one bucket, its expression has one value: so it need not be computed
 * for each row, and the planner knows that there is one group less to make.
 */
static void
give_bucket(const AjDefinition *definition, SelectStmt *query, Node *bucket)
{
	if (!only_bucket_has_time(definition))
		return;
	list_nth_node(ResTarget, query->targetList, definition->bucket_index)->val =
		bucket;
	query->groupClause = group_by_numbers(definition);
}

/* SELECT ... FROM the dirty and open buckets, LATERAL the query within each */
static SelectStmt *
dirty_branch(const AjRollup *rollup, const AjDefinition *definition)
{
	SelectStmt *query = copyObject(definition->select);
	char *dirty = unused_name(definition, "dirty");
	char *from = unused_name(definition, "dirty_from");
	char *to = unused_name(definition, "dirty_to");
	char *bucket = unused_name(definition, "dirty_bucket");
	SelectStmt *frame;
	JoinExpr *join;

	give_bucket(definition, query, our_column(dirty, bucket));
	add_condition(
		query, time_compared(definition, ">=", psprintf("%s.%s", dirty, from)));
	add_condition(query,
				  time_compared(definition, "<", psprintf("%s.%s", dirty, to)));
	frame = parse_frame(psprintf(
		"SELECT %s FROM aggjobs.dirty_buckets(%s, NULL::%s)"
		" AS %s (%s, %s, %s) CROSS JOIN LATERAL (SELECT) AS computed",
		column_list(definition, "computed", psprintf("%s.%s", dirty, bucket)),
		target_constant(rollup), type_name(definition->bucket.time_type), dirty,
		from, to, bucket));
	join = linitial_node(JoinExpr, frame->fromClause);
	castNode(RangeSubselect, join->rarg)->subquery = (Node *) query;
	return frame;
}

/* the query from where buckets are no longer taken one by one */
static SelectStmt *
open_branch(const AjRollup *rollup, const AjDefinition *definition)
{
	SelectStmt *query = copyObject(definition->select);

	add_condition(
		query,
		time_compared(definition, ">=",
					  psprintf("aggjobs.open_beyond(%s, NULL::%s)",
							   target_constant(rollup),
							   type_name(definition->bucket.time_type))));
	return query;
}

static SelectStmt *
union_all(SelectStmt *left, SelectStmt *right)
{
	SelectStmt *both = makeNode(SelectStmt);

	both->op = SETOP_UNION;
	both->all = true;
	both->larg = left;
	both->rarg = right;
	return both;
}

/* schema.table.column becomes table.column, as an alias has no schema. */
static bool
leave_schema_out(Node *node, void *table)
{
	if (node == NULL)
		return false;
	if (IsA(node, ColumnRef))
	{
		ColumnRef *ref = (ColumnRef *) node;
		int n = list_length(ref->fields);

		if (n > 2 && strcmp(strVal(list_nth(ref->fields, n - 2)), table) == 0)
			ref->fields = list_copy_tail(ref->fields, n - 2);
		return false;
	}
	return raw_expression_tree_walker(node, leave_schema_out, table);
}

/* Let the query read the live view of the rollup below. */
static void
read_live_view(AjDefinition *definition)
{
	const AjRollup *child = definition->source_rollup;
	RangeVar *ref = definition->source_ref;

	if (child == NULL)
		return;
	if (ref->alias == NULL)
		ref->alias = makeAlias(ref->relname, NIL);
	(void) leave_schema_out((Node *) definition->select, ref->alias->aliasname);
	ref->catalogname = NULL;
	ref->schemaname = get_namespace_name(get_rel_namespace(child->live));
	ref->relname = get_rel_name(child->live);
}

/*
 * aj_live_query
 *		The query as live views run it, over all time, after analysis.
 */
Query *
aj_live_query(AjDefinition *definition)
{
	RawStmt *statement = makeNode(RawStmt);
	Query *query;

	read_live_view(definition);
	statement->stmt = (Node *) copyObject(definition->select);
	query =
		parse_analyze_fixedparams(statement, definition->query, NULL, 0, NULL);
	aj_flatten_groups(query);
	return query;
}

/*
 * The view is made of several texts.  A place in one of them would be looked up
 * in another by who makes texts alike by their constants (pg_stat_statements),
 * beyond its end even.
 */
static bool
forget_places(Node *node, void *unused)
{
	if (node == NULL)
		return false;
	aj_forget_place(node);
	return raw_expression_tree_walker(node, forget_places, unused);
}

/*
 * aj_live_view_replace
 *		Make the live view of a rollup, in the schema of its target, or change
 *		the one that is there.
 */
void
aj_live_view_replace(AjRollup *rollup, AjDefinition *definition)
{
	ViewStmt *view = makeNode(ViewStmt);
	char *schema = get_namespace_name(get_rel_namespace(rollup->target));
	char *name = psprintf("%s" AJ_LIVE_SUFFIX, get_rel_name(rollup->target));

	read_live_view(definition);
	view->view = makeRangeVar(schema, name, -1);
	view->query =
		(Node *) union_all(union_all(clean_branch(rollup, definition),
									 dirty_branch(rollup, definition)),
						   open_branch(rollup, definition));
	view->replace = true;
	(void) forget_places(view->query, NULL);
	rollup->live = DefineView(view, definition->query, -1, -1).objectId;
	rollup->live_name = quote_qualified_identifier(schema, name);
	CommandCounterIncrement();
}
