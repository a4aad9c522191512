/*-------------------------------------------------------------------------
 *
 * compute.c
 *	  The text of a rollup's query over a range of time.
 *
 * The last branch of the live view is the query over all from some time on:
 *
 *		SELECT ... WHERE (...) AND t >= aggjobs.open_beyond(target, ...) GROUP BY ...
 *
 * It is the truth about the rollup: the server keeps it in step when tables
 * or columns are renamed.  Here that comparison is replaced by one with the
 * bounds of a range, written as constants so that the planner knows them, and
 * the tree is turned back into text.
 *
 * No state, no locks but AccessShareLock on the live view.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/compute.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "base/spi.h"
#include "catalog/namespace.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_proc.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "rollup/compute.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

/* These operators of pg_catalog have no name in C. */
#define XID_EQUAL_OPERATOR 352
#define OID_EQUAL_OPERATOR 607

static Oid
our_function(const char *name)
{
	Oid schema = get_namespace_oid("aggjobs", false);
	CatCList *list;
	Oid found = InvalidOid;

	list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (proc->pronamespace == schema)
			found = proc->oid;
	}
	ReleaseSysCacheList(list);
	if (found == InvalidOid)
		elog(ERROR, "function aggjobs.%s is not there", name);
	return found;
}

/* What replaces the comparison with open_beyond(). */
typedef struct Bounds
{
	Oid open_beyond;
	const AjBucket *bucket;
	AjRange range;
	bool found;
} Bounds;

static Const *
time_const(const Bounds *bounds, TimestampTz instant)
{
	Oid type = bounds->bucket->time_type;
	int16 length;
	bool by_value;

	get_typlenbyval(type, &length, &by_value);
	return makeConst(type, -1, InvalidOid, length,
					 aj_axis_to_datum(type, bounds->bucket->epoch, instant),
					 false, by_value);
}

static Node *
comparison(Oid operator, Node * time, Const *bound)
{
	return (Node *) make_opclause(operator, BOOLOID, false,
								  (Expr *) copyObject(time), (Expr *) bound,
								  InvalidOid, InvalidOid);
}

static Node *
within_bounds(const Bounds *bounds, Oid at_or_after, Node *time)
{
	Node *from =
		comparison(at_or_after, time, time_const(bounds, bounds->range.from));

	if (TIMESTAMP_IS_NOEND(bounds->range.to))
		return from;
	return (Node *) makeBoolExpr(
		AND_EXPR,
		list_make2(from,
				   comparison(get_negator(at_or_after), time,
							  time_const(bounds, bounds->range.to))),
		-1);
}

static Node *
replace_open_beyond(Node *node, Bounds *bounds)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, OpExpr) && list_length(((OpExpr *) node)->args) == 2)
	{
		OpExpr *op = (OpExpr *) node;
		Node *right = lsecond(op->args);

		if (IsA(right, FuncExpr) &&
			((FuncExpr *) right)->funcid == bounds->open_beyond)
		{
			bounds->found = true;
			return within_bounds(bounds, op->opno, linitial(op->args));
		}
	}
	return expression_tree_mutator(node, replace_open_beyond, bounds);
}

AJ_NORETURN static void not_its_live_view(const AjRollup *rollup);

static void
not_its_live_view(const AjRollup *rollup)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("view %s is no longer the live view of rollup \"%s\"",
				rollup->live_name, rollup->name),
		 errhint(
			 "Drop the rollup with aggjobs_drop_rollup() and make it again.")));
}

/* The query of the last branch of the live view, a copy. */
static Query *
open_branch(const AjRollup *rollup)
{
	Relation view = table_open(rollup->live, AccessShareLock);
	Query *query = copyObject(get_view_query(view));
	RangeTblRef *last = NULL;

	table_close(view, AccessShareLock);
	if (query->setOperations != NULL &&
		IsA(query->setOperations, SetOperationStmt))
		last =
			(RangeTblRef *) ((SetOperationStmt *) query->setOperations)->rarg;
	if (last != NULL && IsA(last, RangeTblRef))
	{
		query = rt_fetch(last->rtindex, query->rtable)->subquery;
		aj_flatten_groups(query);
		return query;
	}
	not_its_live_view(rollup);
	return NULL;
}

static Query *
query_within(const AjRollup *rollup, AjRange range)
{
	Query *query = open_branch(rollup);
	Bounds bounds = {our_function("open_beyond"), &rollup->bucket, range,
					 false};

	query->jointree->quals =
		replace_open_beyond(query->jointree->quals, &bounds);
	if (!bounds.found)
		not_its_live_view(rollup);
	return query;
}

/* Is this the comparison with open_beyond()? */
static bool
is_open_bound(Node *node, Oid open_beyond)
{
	Node *right;

	if (!IsA(node, OpExpr) || list_length(((OpExpr *) node)->args) != 2)
		return false;
	right = lsecond(((OpExpr *) node)->args);
	return IsA(right, FuncExpr) && ((FuncExpr *) right)->funcid == open_beyond;
}

/* All conditions but the last. */
static Node *
without_last(List *conditions)
{
	List *rest = list_truncate(conditions, list_length(conditions) - 1);

	return list_length(rest) == 1 ? linitial(rest)
								  : (Node *) makeBoolExpr(AND_EXPR, rest, -1);
}

/*
 * aj_compute_query
 *		The query of a rollup over all time, after analysis; its columns are
 *		called as those of the live view are by now.
 */
Query *
aj_compute_query(const AjRollup *rollup)
{
	Query *query = open_branch(rollup);
	Node *quals = query->jointree->quals;
	Oid open_beyond = our_function("open_beyond");
	ListCell *cell;

	/* The bound is all there is, or comes last. */
	if (quals != NULL && is_open_bound(quals, open_beyond))
		query->jointree->quals = NULL;
	else if (quals != NULL && is_andclause(quals) &&
			 is_open_bound(llast(((BoolExpr *) quals)->args), open_beyond))
		query->jointree->quals = without_last(((BoolExpr *) quals)->args);
	else
		not_its_live_view(rollup);
	foreach (cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (!entry->resjunk)
			entry->resname = get_attname(rollup->live, entry->resno, false);
	}
	return query;
}

static void
add_qual(Query *query, Node *qual)
{
	query->jointree->quals = query->jointree->quals == NULL
		? qual
		: (Node *) makeBoolExpr(AND_EXPR,
								list_make2(query->jointree->quals, qual), -1);
}

/* The entry of the query that fills a column of the target. */
static TargetEntry *
entry_of(const AjRollup *rollup, const Query *query, const char *column)
{
	AttrNumber place = get_attnum(rollup->live, column);

	if (place <= 0)
		elog(ERROR, "live view %s has no column \"%s\"", rollup->live_name,
			 column);
	return list_nth_node(TargetEntry, query->targetList, place - 1);
}

/* Entries of the bucket and the keys, in the order of the target's key. */
static List *
key_entries(const AjRollup *rollup, const Query *query)
{
	List *entries = list_make1(entry_of(rollup, query, rollup->bucket_column));

	for (int i = 0; i < rollup->nkeys; i++)
		entries = lappend(entries, entry_of(rollup, query, rollup->keys[i]));
	return entries;
}

static Node *
wanted_qual(const AjRollup *rollup, const Query *query)
{
	List *args = NIL;
	ListCell *cell;

	foreach (cell, key_entries(rollup, query))
		args = lappend(args, copyObject(lfirst_node(TargetEntry, cell)->expr));
	return (Node *) makeFuncExpr(our_function("wanted"), BOOLOID, args,
								 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

/* The columns of the rollup's key, but for the bucket. */
static char *
keys_order(const AjRollup *rollup, const char *prefix)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < rollup->nkeys; i++)
		appendStringInfo(&text, "%s%s.%s", i > 0 ? ", " : "", prefix,
						 quote_identifier(rollup->keys[i]));
	return text.data;
}

/* "query" as text, with the names of the target's columns. */
static char *
ordered_text(const AjRollup *rollup, Query *query, const char *order)
{
	int ncolumns = list_length(query->targetList);
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "SELECT * FROM (%s) q (",
					 pg_get_querydef(query, false));
	for (int i = 1; i <= ncolumns; i++)
		appendStringInfo(&text, "%s%s", i > 1 ? ", " : "",
						 quote_identifier(
							 get_attname(rollup->live, (AttrNumber) i, false)));
	appendStringInfo(&text, ")%s%s", order[0] == '\0' ? "" : " ORDER BY ",
					 order);
	return text.data;
}

/*
 * aj_compute_text
 *		The query over the rows in a range of time, in the order of the
 *		target's key; with "wanted_only" over rows of the keys that
 *		aj_wanted_find() has found.
 *
 * To be called, and its result to be parsed, between aj_spi_open() and
 * aj_spi_close(): names are qualified for that search_path.
 */
char *
aj_compute_text(const AjRollup *rollup, AjRange range, bool wanted_only)
{
	Query *query = query_within(rollup, range);

	if (wanted_only)
		add_qual(query, wanted_qual(rollup, query));
	return ordered_text(rollup, query, aj_compute_order(rollup, "q"));
}

/* What replaces the expression of the bucket. */
typedef struct BucketName
{
	Node *expression;
	Const *name;
} BucketName;

static Node *
replace_bucket(Node *node, BucketName *bucket)
{
	if (node == NULL)
		return NULL;
	if (equal(node, bucket->expression))
		return (Node *) copyObject(bucket->name);
	return expression_tree_mutator(node, replace_bucket, bucket);
}

/*
 * aj_compute_bucket_text
 *		The same over a range that lies within one bucket.
 *
 * The bucket is written as a constant instead of the expression for it, which
 * has one value in all that range: so it need not be computed for each row,
 * and rows are sorted by the keys only.
 */
char *
aj_compute_bucket_text(const AjRollup *rollup, AjRange range, bool wanted_only)
{
	Query *query = query_within(rollup, range);
	Bounds bounds = {.bucket = &rollup->bucket};
	BucketName bucket;

	if (rollup->bucket_type != rollup->bucket.time_type)
		return aj_compute_text(rollup, range, wanted_only);
	bucket.expression = copyObject(
		(Node *) entry_of(rollup, query, rollup->bucket_column)->expr);
	bucket.name =
		time_const(&bounds, aj_bucket_name(&rollup->bucket, range.from));
	query->targetList =
		castNode(List, replace_bucket((Node *) query->targetList, &bucket));
	if (wanted_only)
		add_qual(query, wanted_qual(rollup, query));
	return ordered_text(rollup, query, keys_order(rollup, "q"));
}

static Index
source_index(const AjRollup *rollup, const Query *query)
{
	ListCell *cell;
	Index index = 0;

	foreach (cell, query->rtable)
	{
		index++;
		if (lfirst_node(RangeTblEntry, cell)->rtekind == RTE_RELATION &&
			lfirst_node(RangeTblEntry, cell)->relid == rollup->source)
			return index;
	}
	elog(ERROR, "live view %s does not read %s", rollup->live_name,
		 rollup->source_name);
	return 0;
}

static Node *
any_of(Index index, AttrNumber column, Oid type, Oid operator, Oid array_type,
	   Datum array)
{
	ScalarArrayOpExpr *op = makeNode(ScalarArrayOpExpr);

	op->opno = operator;
	op->opfuncid = get_opcode(operator);
	op->useOr = true;
	op->args = list_make2(makeVar((int) index, column, type, -1, InvalidOid, 0),
						  makeConst(array_type, -1, InvalidOid, -1, array,
									false, false));
	op->location = -1;
	return (Node *) op;
}

/*
 * aj_compute_keys_text
 *		A query for the keys of the rows at these places ("tids" of table
 *		"part", written by "xids": arrays) that fall into a range.
 */
char *
aj_compute_keys_text(const AjRollup *rollup, AjRange range, Oid part,
					 Datum tids, Datum xids)
{
	Query *query = query_within(rollup, range);
	Index source = source_index(rollup, query);
	List *entries = NIL;
	ListCell *cell;
	int n = 0;

	add_qual(query,
			 any_of(source, SelfItemPointerAttributeNumber, TIDOID,
					TIDEqualOperator, TIDARRAYOID, tids));
	add_qual(query,
			 any_of(source, MinTransactionIdAttributeNumber, XIDOID,
					XID_EQUAL_OPERATOR, XIDARRAYOID, xids));
	add_qual(query,
			 (Node *) make_opclause(
				 OID_EQUAL_OPERATOR, BOOLOID, false,
				 (Expr *) makeVar((int) source, TableOidAttributeNumber, OIDOID,
								  -1, InvalidOid, 0),
				 (Expr *) makeConst(OIDOID, -1, InvalidOid, sizeof(Oid),
									ObjectIdGetDatum(part), false, true),
				 InvalidOid, InvalidOid));
	foreach (cell, key_entries(rollup, query))
	{
		TargetEntry *entry = copyObject(lfirst_node(TargetEntry, cell));

		entry->resno = (AttrNumber) ++n;
		entry->resname = psprintf("k%d", n);
		entries = lappend(entries, entry);
	}
	query->targetList = entries;
	query->hasAggs = false;
	return pg_get_querydef(query, false);
}

/* The columns of the target in order, each with "prefix." before it. */
char *
aj_compute_columns(const AjRollup *rollup, const char *prefix)
{
	StringInfoData text;
	int n = 0;

	while (get_attname(rollup->live, (AttrNumber) (n + 1), true) != NULL)
		n++;
	initStringInfo(&text);
	for (int i = 1; i <= n; i++)
	{
		if (i > 1)
			appendStringInfoString(&text, ", ");
		if (prefix[0] != '\0')
			appendStringInfo(&text, "%s.", prefix);
		appendStringInfoString(
			&text,
			quote_identifier(get_attname(rollup->live, (AttrNumber) i, false)));
	}
	return text.data;
}

/* The columns of the target's key in order, as for ORDER BY. */
char *
aj_compute_order(const AjRollup *rollup, const char *prefix)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%s.%s", prefix,
					 quote_identifier(rollup->bucket_column));
	for (int i = 0; i < rollup->nkeys; i++)
		appendStringInfo(&text, ", %s.%s", prefix,
						 quote_identifier(rollup->keys[i]));
	return text.data;
}

/* A condition that "column", an expression, lies in a range. */
char *
aj_compute_range(const AjRollup *rollup, const char *column, AjRange range)
{
	const AjBucket *bucket = &rollup->bucket;
	char *from =
		psprintf("%s >= %s", column,
				 aj_axis_literal(bucket->time_type, bucket->epoch, range.from));

	if (TIMESTAMP_IS_NOEND(range.to))
		return from;
	return psprintf("%s AND %s < %s", from, column,
					aj_axis_literal(bucket->time_type, bucket->epoch,
									range.to));
}
