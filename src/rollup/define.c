/*-------------------------------------------------------------------------
 *
 * define.c
 *	  From the text of a query to what is needed to keep it as a rollup.
 *
 * The text is parsed and analyzed by the server, under the search_path of the
 * session; what is kept is the parse tree, from which the live view is made.
 * A date_trunc without a zone over timestamptz would mean another thing to
 * each reader, so that the session's zone is written into the tree first.
 *
 * State: none; memory is the caller's.  Locks: AccessShareLock on the tables
 * of the query, as analysis takes it.  Failure: the refusals of refuse.c, and
 * errors of the server, with their position in the query.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/define.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/sysattr.h"
#include "catalog/source.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "pgtime.h"
#include "rollup/classify.h"
#include "rollup/define.h"
#include "rollup/refuse.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

/* What an error in the query points at, if it has no place of its own. */
typedef struct Place
{
	const char *query;
	int location; /* -1: nothing */
} Place;

/* A position in the query is told as such, not as one in the caller's text. */
static void
tell_place(void *arg)
{
	const Place *place = arg;
	int position = geterrposition();

	if (position <= 0 && place->location >= 0)
		position = aj_position_in_query(place->location);
	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery(place->query);
}

static RawStmt *
parse(const char *text)
{
	List *statements = raw_parser(text, RAW_PARSE_DEFAULT);
	RawStmt *statement;

	if (list_length(statements) > 1)
		aj_refuse(AJ_REFUSE_NOT_ONE_QUERY,
				  lsecond_node(RawStmt, statements)->stmt_location, NULL);
	if (statements == NIL)
		aj_refuse(AJ_REFUSE_NOT_ONE_QUERY, -1, NULL);
	statement = linitial_node(RawStmt, statements);
	if (!IsA(statement->stmt, SelectStmt))
		aj_refuse(AJ_REFUSE_NOT_SELECT, -1, NULL);
	return statement;
}

static Query *
analyze(RawStmt *statement, const char *text)
{
	RawStmt *copy = copyObject(statement);
	Query *query = parse_analyze_fixedparams(copy, text, NULL, 0, NULL);

	aj_flatten_groups(query);
	query->targetList =
		(List *) aj_flatten_join_aliases(query, (Node *) query->targetList);
	query->jointree =
		castNode(FromExpr,
				 aj_flatten_join_aliases(query, (Node *) query->jointree));
	return query;
}

/* The calls of date_trunc that take the zone of the session. */
static bool
find_zoneless(Node *node, void *locations)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) &&
		((FuncExpr *) node)->funcid == F_DATE_TRUNC_TEXT_TIMESTAMPTZ)
		*(List **) locations =
			lappend_int(*(List **) locations, ((FuncExpr *) node)->location);
	return expression_tree_walker(node, find_zoneless, locations);
}

static bool
add_zone(Node *node, void *locations)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncCall) &&
		list_member_int(locations, ((FuncCall *) node)->location))
	{
		A_Const *zone = makeNode(A_Const);

		zone->val.sval.type = T_String;
		zone->val.sval.sval = pstrdup(pg_get_timezone_name(session_timezone));
		zone->location = -1;
		((FuncCall *) node)->args = lappend(((FuncCall *) node)->args, zone);
		return false;
	}
	return raw_expression_tree_walker(node, add_zone, locations);
}

/* Write the session's zone where date_trunc would take it; true if it did. */
static bool
make_zones_explicit(RawStmt *statement, Query *query)
{
	List *locations = NIL;

	(void) find_zoneless((Node *) query->targetList, &locations);
	(void) find_zoneless((Node *) query->jointree, &locations);
	(void) add_zone(statement->stmt, locations);
	return locations != NIL;
}

/*
 * Group by numbers of the select list: what was written in GROUP BY is no
 * longer equal to what has got a zone there.
 */
static void
group_by_number(SelectStmt *select, const Query *query)
{
	List *numbers = NIL;
	ListCell *cell;

	foreach (cell, query->groupClause)
	{
		TargetEntry *entry =
			get_sortgroupclause_tle(lfirst(cell), query->targetList);
		A_Const *number = makeNode(A_Const);

		if (entry->resjunk)
			aj_refuse(AJ_REFUSE_NOT_SELECTED,
					  exprLocation((Node *) entry->expr), NULL);
		number->val.ival.type = T_Integer;
		number->val.ival.ival = entry->resno;
		number->location = -1;
		numbers = lappend(numbers, number);
	}
	select->groupClause = numbers;
}

static void
tell_zone(void)
{
	ereport(
		NOTICE,
		(errmsg(
			 "date_trunc without a time zone is kept with that of this session, \"%s\"",
			 pg_get_timezone_name(session_timezone)),
		 errhint(
			 "Write the zone as the third argument to say what you mean.")));
}

/* The entry of the select list that is the bucket. */
static TargetEntry *
find_bucket(Query *query)
{
	TargetEntry *bucket = NULL;
	ListCell *cell;

	foreach (cell, query->groupClause)
	{
		TargetEntry *entry =
			get_sortgroupclause_tle(lfirst(cell), query->targetList);

		if (!aj_bucket_is_call((Node *) entry->expr))
			continue;
		if (bucket != NULL)
			aj_refuse(AJ_REFUSE_TWO_BUCKETS, exprLocation((Node *) entry->expr),
					  NULL);
		bucket = entry;
	}
	if (bucket != NULL)
		return bucket;
	foreach (cell, query->groupClause)
	{
		TargetEntry *entry =
			get_sortgroupclause_tle(lfirst(cell), query->targetList);

		if (aj_bucket_is_cast((Node *) entry->expr))
			aj_refuse(AJ_REFUSE_BUCKET_CAST, exprLocation((Node *) entry->expr),
					  NULL);
	}
	aj_refuse(AJ_REFUSE_NO_BUCKET,
			  exprLocation((Node *) get_sortgroupclause_tle(
							   linitial(query->groupClause), query->targetList)
							   ->expr),
			  NULL);
}

/* Can an outer join put NULLs in the place of a row of the source? */
static bool
is_nullable(Node *node, Index source, bool nullable)
{
	if (IsA(node, RangeTblRef))
		return ((RangeTblRef *) node)->rtindex == (int) source && nullable;
	if (IsA(node, FromExpr))
	{
		ListCell *cell;

		foreach (cell, ((FromExpr *) node)->fromlist)
			if (is_nullable(lfirst(cell), source, nullable))
				return true;
		return false;
	}
	if (IsA(node, JoinExpr))
	{
		JoinExpr *join = (JoinExpr *) node;
		bool left = join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL;
		bool right = join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL;

		return is_nullable(join->larg, source, nullable || left) ||
			is_nullable(join->rarg, source, nullable || right);
	}
	return false;
}

/* Attribute numbers of a table that the query reads. */
static Bitmapset *
columns_read(Query *query, Index index, Oid relid)
{
	Bitmapset *offset = NULL;
	Bitmapset *columns = NULL;
	int bit = -1;

	pull_varattnos((Node *) query->targetList, index, &offset);
	pull_varattnos((Node *) query->jointree, index, &offset);
	while ((bit = bms_next_member(offset, bit)) >= 0)
	{
		int column = bit + FirstLowInvalidHeapAttributeNumber;

		if (column > 0)
			columns = bms_add_member(columns, column);
		if (column == 0)
			for (AttrNumber i = 1; get_attname(relid, i, true) != NULL; i++)
				columns = bms_add_member(columns, i);
	}
	return columns;
}

static void
check_may_read(Query *query)
{
	ListCell *cell;
	Index index = 0;

	foreach (cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		index++;
		if (rte->rtekind == RTE_RELATION)
			aj_check_may_read(rte->relid,
							  columns_read(query, index, rte->relid));
	}
}

/* Note by which node the query names the source, and what it joins to it. */
static void
set_tables(AjDefinition *definition, const Query *query, Index source)
{
	List *tables = aj_tables_in_from(definition->select);
	ListCell *cell;
	Index index = 0;
	int n = 0;

	foreach (cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);
		RangeVar *table;

		index++;
		if (rte->rtekind != RTE_RELATION)
			continue;
		table = list_nth_node(RangeVar, tables, n++);
		if (index == source)
			definition->source_ref = table;
		else if (rte->relid == definition->source)
			aj_refuse(AJ_REFUSE_SOURCE_TWICE, table->location,
					  get_rel_name(rte->relid));
		else
			definition->dimensions =
				list_append_unique_oid(definition->dimensions, rte->relid);
	}
}

static void
set_source(AjDefinition *definition, Query *query, const Var *time)
{
	RangeTblEntry *rte = rt_fetch(time->varno, query->rtable);
	int location;

	if (rte->rtekind != RTE_RELATION || time->varattno <= 0)
		aj_refuse(AJ_REFUSE_BUCKET_EXPRESSION, time->location, NULL);
	definition->source = rte->relid;
	definition->source_alias = rte->eref->aliasname;
	definition->time_attnum = time->varattno;
	definition->time_column = get_attname(rte->relid, time->varattno, false);
	definition->time_name =
		strVal(list_nth(rte->eref->colnames, time->varattno - 1));
	set_tables(definition, query, time->varno);
	location = definition->source_ref->location;
	aj_check_source(rte, definition->lookback, location);
	if (is_nullable((Node *) query->jointree, time->varno, false))
		aj_refuse(AJ_REFUSE_NULLABLE_SIDE, location, get_rel_name(rte->relid));
	if (definition->lookback == 0 && aj_is_virtual(rte->relid, time->varattno))
		aj_refuse(AJ_REFUSE_TIME_VIRTUAL, time->location,
				  definition->time_column);
	if (definition->lookback == 0 &&
		!aj_is_not_null(rte->relid, time->varattno))
		aj_refuse(AJ_REFUSE_TIME_NULLABLE, time->location,
				  definition->time_column);
	if (definition->lookback == 0)
		definition->source_rollup = aj_rollup_of_target(rte->relid);
	definition->read = columns_read(query, time->varno, rte->relid);
}

static void
set_column(AjColumn *column, const TargetEntry *entry,
		   const TargetEntry *bucket)
{
	Node *expr = (Node *) entry->expr;

	column->name = entry->resname;
	column->type = exprType(expr);
	column->typmod = exprTypmod(expr);
	column->collation = exprCollation(expr);
	if (entry == bucket)
		column->role = AJ_COLUMN_BUCKET;
	else if (entry->ressortgroupref != 0)
		column->role = AJ_COLUMN_KEY;
	else
	{
		column->role = AJ_COLUMN_MEASURE;
		column->kind = aj_measure_kind(expr);
	}
}

static void
set_columns(AjDefinition *definition, Query *query, TargetEntry *bucket)
{
	int n = 0;
	ListCell *cell;

	definition->ncolumns = list_length(query->targetList);
	definition->columns =
		palloc0(sizeof(AjColumn) * (Size) definition->ncolumns);
	foreach (cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry == bucket)
			definition->bucket_index = n;
		set_column(&definition->columns[n++], entry, bucket);
	}
}

/* The unit in which the time of the source is known to be counted. */
static AjEpoch
usual_epoch(const AjDefinition *definition)
{
	AjSource *known =
		definition->lookback > 0 ? NULL : aj_source_find(definition->source);

	if (known != NULL && known->epoch != AJ_EPOCH_NONE)
		return known->epoch;
	if (definition->source_rollup != NULL)
		return definition->source_rollup->bucket.epoch;
	return AJ_EPOCH_SECOND;
}

static void
set_epoch(AjDefinition *definition, const AjDefineOptions *options)
{
	bool counts = definition->bucket.time_type == INT8OID;

	if (options->epoch != NULL && !counts)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "\"epoch\" is for a time column of type bigint, and \"%s\" is of type %s",
				 definition->time_column,
				 format_type_be(definition->bucket.time_type)),
			 errhint("Leave it out.")));
	if (counts)
		definition->bucket.epoch = options->epoch == NULL
			? usual_epoch(definition)
			: aj_epoch_from_text(options->epoch);
}

static AjDefinition *
define(const char *text, const AjDefineOptions *options, Place *place)
{
	AjDefinition *definition = palloc0(sizeof(AjDefinition));
	RawStmt *statement = parse(text);
	TargetEntry *bucket;
	Query *query;
	Var *time;
	bool zone_added;

	definition->query = text;
	definition->lookback = options->lookback;
	definition->select = castNode(SelectStmt, statement->stmt);
	aj_check_select(definition->select);
	query = analyze(statement, text);
	zone_added = make_zones_explicit(statement, query);
	if (zone_added)
	{
		group_by_number(definition->select, query);
		query = analyze(statement, text);
	}
	aj_check_tables(query, aj_tables_in_from(definition->select));
	bucket = find_bucket(query);
	time = aj_bucket_from_call((FuncExpr *) bucket->expr, &definition->bucket);
	aj_check_query(query);
	set_source(definition, query, time);
	place->location = exprLocation((Node *) bucket->expr);
	set_epoch(definition, options);
	aj_bucket_check(&definition->bucket);
	place->location = -1;
	set_columns(definition, query, bucket);
	if (definition->source_rollup != NULL)
		aj_check_hierarchy(definition, query, time->varno, time->location);
	check_may_read(query);
	if (zone_added)
		tell_zone();
	return definition;
}

/*
 * aj_define
 *		What a query means as a rollup.  Refused with the reason, the place
 *		and the nearest accepted form if it can't be one.
 */
AjDefinition *
aj_define(const char *query, const AjDefineOptions *options)
{
	Place place = {query, -1};
	ErrorContextCallback callback;
	AjDefinition *definition;

	callback.callback = tell_place;
	callback.arg = &place;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	aj_refuse_in(query);
	definition = define(query, options, &place);
	error_context_stack = callback.previous;
	return definition;
}
