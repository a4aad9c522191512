/*-------------------------------------------------------------------------
 *
 * bucket_call.c
 *	  From the call of a bucket function to the bucket it stands for.
 *
 * No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/bucket_call.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type_d.h"
#include "commands/extension.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rollup/classify.h"
#include "rollup/refuse.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* Is a function our aggjobs_bucket(), in whatever schema that is? */
static bool
is_ours(Oid function)
{
	char *name = get_func_name(function);

	return name != NULL && strcmp(name, "aggjobs_bucket") == 0 &&
		getExtensionOfObject(ProcedureRelationId, function) ==
		get_extension_oid("pg_aggjobs", true);
}

static bool
is_date_trunc(Oid function)
{
	return function == F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT ||
		function == F_DATE_TRUNC_TEXT_TIMESTAMPTZ ||
		function == F_DATE_TRUNC_TEXT_TIMESTAMP;
}

static bool
is_date_bin(Oid function)
{
	return function == F_DATE_BIN_INTERVAL_TIMESTAMP_TIMESTAMP ||
		function == F_DATE_BIN_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ;
}

static bool
is_a_point_in_time(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
}

static bool
is_time_type(Oid type)
{
	return is_a_point_in_time(type) || type == INT8OID;
}

/* Is an expression a bucket of time? */
bool
aj_bucket_is_call(Node *expr)
{
	Oid function;

	if (!IsA(expr, FuncExpr))
		return false;
	function = ((FuncExpr *) expr)->funcid;
	return is_date_trunc(function) || is_date_bin(function) ||
		is_ours(function);
}

static bool
is_at_time_zone(Oid function)
{
	return function == F_TIMEZONE_TEXT_TIMESTAMPTZ ||
		function == F_TIMEZONE_TEXT_TIMESTAMP ||
		function == F_TIMEZONE_INTERVAL_TIMESTAMPTZ ||
		function == F_TIMEZONE_INTERVAL_TIMESTAMP;
}

static bool
is_cast(const FuncExpr *call)
{
	return call->funcformat == COERCE_EXPLICIT_CAST ||
		call->funcformat == COERCE_IMPLICIT_CAST;
}

/* Is it what people write instead: t::date, or t AT TIME ZONE z? */
bool
aj_bucket_is_cast(Node *expr)
{
	FuncExpr *call = (FuncExpr *) expr;

	return IsA(expr, FuncExpr) && call->args != NIL &&
		(is_cast(call) || is_at_time_zone(call->funcid)) &&
		is_a_point_in_time(exprType(llast(call->args))) &&
		is_a_point_in_time(exprType(expr));
}

static Const *
constant_argument(List *args, int i)
{
	Node *arg = list_nth(args, i);

	if (!IsA(arg, Const))
		aj_refuse(AJ_REFUSE_BUCKET_NOT_CONSTANT, exprLocation(arg), NULL);
	return (Const *) arg;
}

static Const *
given_argument(List *args, int i)
{
	Const *value = constant_argument(args, i);

	if (value->constisnull)
		aj_refuse(AJ_REFUSE_BUCKET_NOT_CONSTANT, value->location, NULL);
	return value;
}

/* What is wrong with a time that is no column. */
static void
refuse_time(Node *arg)
{
	Oid function = IsA(arg, FuncExpr) ? ((FuncExpr *) arg)->funcid : InvalidOid;

	if (function == F_TIMESTAMPTZ_DATE || function == F_TIMESTAMP_DATE)
		aj_refuse(AJ_REFUSE_BUCKET_DATE, exprLocation(arg), NULL);
	if (function == F_TIMESTAMPTZ_TIMESTAMP)
		aj_refuse(AJ_REFUSE_BUCKET_CONVERTED, exprLocation(arg), NULL);
	if (aj_bucket_is_cast(arg))
		aj_refuse(AJ_REFUSE_BUCKET_CAST, exprLocation(arg), NULL);
	aj_refuse(AJ_REFUSE_BUCKET_EXPRESSION, exprLocation(arg), NULL);
}

static Var *
time_argument(List *args, int i)
{
	Node *arg = list_nth(args, i);

	if (!IsA(arg, Var) || !is_time_type(((Var *) arg)->vartype) ||
		((Var *) arg)->varlevelsup != 0)
		refuse_time(arg);
	return (Var *) arg;
}

static Var *
read_date_trunc(List *args, AjBucket *bucket)
{
	Var *time = time_argument(args, 1);
	Const *unit = given_argument(args, 0);
	char *name = TextDatumGetCString(unit->constvalue);

	bucket->kind = AJ_BUCKET_TRUNC;
	bucket->unit = unconstify(char *, aj_bucket_unit(name));
	if (bucket->unit == NULL)
		aj_refuse(AJ_REFUSE_BUCKET_UNIT, unit->location, name);
	bucket->unit = pstrdup(bucket->unit);
	if (list_length(args) > 2)
		bucket->zone = TextDatumGetCString(given_argument(args, 2)->constvalue);
	return time;
}

static Var *
read_date_bin(List *args, AjBucket *bucket)
{
	Var *time = time_argument(args, 1);
	Const *origin = given_argument(args, 2);

	bucket->kind = AJ_BUCKET_BIN;
	bucket->width = *DatumGetIntervalP(given_argument(args, 0)->constvalue);
	bucket->origin = aj_axis_from_datum(origin->consttype, AJ_EPOCH_NONE,
										origin->constvalue);
	return time;
}

static Var *
read_count(List *args, AjBucket *bucket)
{
	Var *time = time_argument(args, 1);

	bucket->kind = AJ_BUCKET_COUNT;
	bucket->count = DatumGetInt64(given_argument(args, 0)->constvalue);
	bucket->count_origin = DatumGetInt64(given_argument(args, 2)->constvalue);
	return time;
}

static Var *
read_width(List *args, AjBucket *bucket)
{
	Var *time = time_argument(args, 1);
	bool has_zone = time->vartype == TIMESTAMPTZOID;
	Const *origin = constant_argument(args, has_zone ? 3 : 2);

	bucket->kind = AJ_BUCKET_WIDTH;
	bucket->width = *DatumGetIntervalP(given_argument(args, 0)->constvalue);
	bucket->origin = AJ_BUCKET_NO_ORIGIN;
	if (has_zone)
		bucket->zone = TextDatumGetCString(given_argument(args, 2)->constvalue);
	if (!origin->constisnull)
		bucket->origin = aj_axis_from_datum(origin->consttype, AJ_EPOCH_NONE,
											origin->constvalue);
	return time;
}

/* It depends on no row: an argument is NULL, or all are constant. */
static void
refuse_constant(const FuncExpr *call)
{
	ListCell *cell;

	foreach (cell, call->args)
	{
		Node *arg = eval_const_expressions(NULL, copyObject(lfirst(cell)));

		if (IsA(arg, Const) && ((Const *) arg)->constisnull)
			aj_refuse(AJ_REFUSE_BUCKET_NOT_CONSTANT, exprLocation(lfirst(cell)),
					  NULL);
	}
	aj_refuse(AJ_REFUSE_BUCKET_EXPRESSION, call->location, NULL);
}

/*
 * aj_bucket_from_call
 *		Fill *bucket from a call for which aj_bucket_is_call(); returns the
 *		time column.  What can't be followed is refused.
 */
Var *
aj_bucket_from_call(FuncExpr *call, AjBucket *bucket)
{
	/* Folds constants, and puts in the defaults of arguments. */
	FuncExpr *folded =
		(FuncExpr *) eval_const_expressions(NULL, copyObject((Node *) call));
	Var *time;

	memset(bucket, 0, sizeof(*bucket));
	if (!IsA(folded, FuncExpr))
		refuse_constant(call);
	if (is_date_trunc(folded->funcid))
		time = read_date_trunc(folded->args, bucket);
	else if (is_date_bin(folded->funcid))
		time = read_date_bin(folded->args, bucket);
	else if (exprType((Node *) folded) == INT8OID)
		time = read_count(folded->args, bucket);
	else
		time = read_width(folded->args, bucket);
	bucket->time_type = time->vartype;
	return time;
}
