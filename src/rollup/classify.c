/*-------------------------------------------------------------------------
 *
 * classify.c
 *	  Kinds of measures, and what a rollup may compute from those below it.
 *
 * A sum of sums, a sum of counts, the least of the least: these follow from
 * the rows of a finer rollup.  An average of averages does not, nor a count of
 * distinct values, nor a percentile.
 *
 * No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/classify.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/json.h"
#include "catalog/pg_aggregate.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rollup/classify.h"
#include "rollup/refuse.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

typedef struct AggregateKind
{
	const char *name;
	const char *kind;
} AggregateKind;

static const AggregateKind aggregate_kinds[] = {
	{"count", "count"},
	{"sum", "sum"},
	{"min", "least"},
	{"max", "greatest"},
	{"avg", "average"},
	{"stddev", "average"},
	{"stddev_pop", "average"},
	{"stddev_samp", "average"},
	{"variance", "average"},
	{"var_pop", "average"},
	{"var_samp", "average"},
	{"corr", "average"},
	{"covar_pop", "average"},
	{"covar_samp", "average"},
	{"regr_slope", "average"},
	{"regr_r2", "average"},
	{"regr_intercept", "average"},
	{"mode", "percentile"},
};

static const char *
kind_of_aggregate(const Aggref *aggregate)
{
	char *name = get_func_name(aggregate->aggfnoid);
	bool minmax =
		name != NULL && (strcmp(name, "min") == 0 || strcmp(name, "max") == 0);

	if (aggregate->aggkind != AGGKIND_NORMAL)
		return "percentile";
	if (aggregate->aggdistinct != NIL && !minmax)
		return "distinct";
	for (int i = 0; i < (int) lengthof(aggregate_kinds) && name != NULL; i++)
		if (strcmp(aggregate_kinds[i].name, name) == 0)
			return aggregate_kinds[i].kind;
	return "other";
}

/* Casts, rounding and coalesce leave a measure what it is. */
static Node *
strip(Node *expr)
{
	for (;;)
	{
		if (IsA(expr, RelabelType))
			expr = (Node *) ((RelabelType *) expr)->arg;
		else if (IsA(expr, CoerceViaIO))
			expr = (Node *) ((CoerceViaIO *) expr)->arg;
		else if (IsA(expr, CoalesceExpr))
			expr = linitial(((CoalesceExpr *) expr)->args);
		else if (IsA(expr, FuncExpr) && ((FuncExpr *) expr)->args != NIL &&
				 (((FuncExpr *) expr)->funcformat != COERCE_EXPLICIT_CALL ||
				  strcmp(get_func_name(((FuncExpr *) expr)->funcid), "round") ==
					  0))
			expr = linitial(((FuncExpr *) expr)->args);
		else
			return expr;
	}
}

static bool
is_division(Node *expr)
{
	char *name;

	if (!IsA(expr, OpExpr))
		return false;
	name = get_opname(((OpExpr *) expr)->opno);
	return name != NULL && strcmp(name, "/") == 0;
}

/* What may be computed from a column with this expression: see define.h. */
const char *
aj_measure_kind(Node *expr)
{
	expr = strip(expr);
	if (IsA(expr, Aggref))
		return kind_of_aggregate((Aggref *) expr);
	return is_division(expr) ? "average" : "other";
}

typedef struct Hierarchy
{
	const AjRollup *child;
	Index source;
} Hierarchy;

/* The kind of a measure of the child, or NULL if the column is no measure. */
static char *
child_kind(const AjRollup *child, const char *column)
{
	int n = aj_json_length(child->measures);

	for (int i = 0; i < n; i++)
	{
		Jsonb *measure = aj_json_element(child->measures, i);
		char *name = aj_json_text_field(measure, "name");

		if (name != NULL && strcmp(name, column) == 0)
			return aj_json_text_field(measure, "kind");
	}
	return NULL;
}

static bool
is_one_of(const char *text, const char *a, const char *b, const char *c)
{
	return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

/* The column of the child whose values are aggregated as they are, or NULL. */
static char *
column_aggregated(const Aggref *aggregate, const Hierarchy *hierarchy)
{
	List *args = aggregate->args;
	Node *arg;

	if (list_length(args) != 1)
		return NULL;
	arg = strip((Node *) linitial_node(TargetEntry, args)->expr);
	if (!IsA(arg, Var) || ((Var *) arg)->varno != (int) hierarchy->source)
		return NULL;
	return get_attname(hierarchy->child->target, ((Var *) arg)->varattno, true);
}

/*
 * A product such as sum(mean * n) is not looked into: it may well be what
 * makes an average right.  Nor are aggregates of the user's, which may merge
 * sketches.
 */
static void
check_aggregate(const Aggref *aggregate, const Hierarchy *hierarchy)
{
	const char *computed = kind_of_aggregate(aggregate);
	char *column = column_aggregated(aggregate, hierarchy);
	char *kind = column == NULL ? NULL : child_kind(hierarchy->child, column);

	if (kind == NULL || is_one_of(computed, "count", "distinct", "other"))
		return;
	if (is_one_of(kind, "average", "distinct", "percentile"))
		aj_refuse(AJ_REFUSE_NOT_DERIVABLE, aggregate->location, column);
	if (strcmp(computed, "average") == 0 &&
		is_one_of(kind, "count", "sum", "sum"))
		aj_refuse(AJ_REFUSE_AVERAGE_OF_SUMS, aggregate->location, column);
}

static bool
check_aggregates(Node *node, void *hierarchy)
{
	if (node == NULL)
		return false;
	if (IsA(node, Aggref))
		check_aggregate((Aggref *) node, hierarchy);
	return expression_tree_walker(node, check_aggregates, hierarchy);
}

#define FIRST_SAMPLE INT64CONST(-946684800000000) /* 1970 */
#define SAMPLE_STEP (17 * USECS_PER_HOUR)		  /* meets every hour */
#define SAMPLES 35000							  /* to 2037 */
#define CONSECUTIVE_SAMPLES 5000

/* Does each bucket begin with one of the child's? */
static bool
is_union_of(const AjBucket *bucket, const AjBucket *child)
{
	TimestampTz at = FIRST_SAMPLE;

	for (int i = 0; i < SAMPLES; i++, at += SAMPLE_STEP)
	{
		TimestampTz start = aj_bucket_start(bucket, at);

		if (aj_bucket_start(child, start) != start)
			return false;
	}
	/* Narrow buckets are met too seldom by the steps above. */
	for (int i = 0; i < CONSECUTIVE_SAMPLES; i++)
	{
		TimestampTz end = aj_bucket_end(bucket, at);

		if (aj_bucket_start(child, end) != end)
			return false;
		at = end;
	}
	return true;
}

/*
 * aj_check_hierarchy
 *		Refuse a query over a rollup that can't be derived from it; "location"
 *		is that of the time in the query.
 */
void
aj_check_hierarchy(const AjDefinition *definition, Query *query, Index source,
				   int location)
{
	const AjRollup *child = definition->source_rollup;
	Hierarchy hierarchy = {child, source};

	if (strcmp(definition->time_column, child->bucket_column) != 0)
		aj_refuse(AJ_REFUSE_PARENT_TIME, location, child->bucket_column);
	if (!is_union_of(&definition->bucket, &child->bucket))
		aj_refuse(AJ_REFUSE_PARENT_BUCKET, location, child->name);
	(void) check_aggregates((Node *) query->targetList, &hierarchy);
}
