/*-------------------------------------------------------------------------
 *
 * immutable.c
 *	  Does a query give the same result whenever and by whomever it is run?
 *
 * A rollup is computed by a worker and read by anybody, so its query may only
 * call what is immutable.  Some functions are marked stable though they are
 * not: they are accepted, where their arguments are of types that leave no
 * doubt.
 *
 * No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/immutable.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "catalog/pg_proc.h"
#include "catalog/pg_type_d.h"
#include "nodes/nodeFuncs.h"
#include "rollup/classify.h"
#include "rollup/refuse.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

static bool
is_in(Oid oid, const Oid *list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i] == oid)
			return true;
	return false;
}

/* Functions that tell the time and nothing else. */
static bool
tells_the_time(Oid function)
{
	static const Oid clocks[] = {
		F_NOW,
		F_TRANSACTION_TIMESTAMP,
		F_CLOCK_TIMESTAMP,
		F_STATEMENT_TIMESTAMP,
		F_TIMEOFDAY,
	};

	return is_in(function, clocks, lengthof(clocks));
}

/*
 * Stable because they write values of any type as text, and that of a time
 * depends on the session.
 */
static bool
only_writes_text(Oid function)
{
	static const Oid writers[] = {
		F_CONCAT,
		F_CONCAT_WS,
		F_TEXTANYCAT,
		F_ANYTEXTCAT,
		F_FORMAT_TEXT,
		F_FORMAT_TEXT_ANY,
		F_ARRAY_TO_STRING_ANYARRAY_TEXT,
		F_ARRAY_TO_STRING_ANYARRAY_TEXT_TEXT,
		F_TO_JSON,
		F_TO_JSONB,
		F_JSON_AGG,
		F_JSONB_AGG,
		F_JSON_OBJECT_AGG,
		F_JSONB_OBJECT_AGG,
		F_JSON_BUILD_ARRAY_,
		F_JSON_BUILD_ARRAY_ANY,
		F_JSONB_BUILD_ARRAY_,
		F_JSONB_BUILD_ARRAY_ANY,
		F_JSON_BUILD_OBJECT_,
		F_JSON_BUILD_OBJECT_ANY,
		F_JSONB_BUILD_OBJECT_,
		F_JSONB_BUILD_OBJECT_ANY,
	};

	return is_in(function, writers, lengthof(writers));
}

/* Types whose values are written the same way in each session. */
static bool
is_written_alike(Oid type)
{
	static const Oid types[] = {
		BOOLOID, INT2OID,	 INT4OID,	 INT8OID, NUMERICOID,
		TEXTOID, VARCHAROID, BPCHAROID,	 NAMEOID, UUIDOID,
		JSONOID, JSONBOID,	 UNKNOWNOID,
	};
	Oid base = getBaseType(type);
	Oid element = get_element_type(base);

	if (element != InvalidOid)
		base = getBaseType(element);
	return is_in(base, types, lengthof(types)) || type_is_enum(base);
}

static bool
all_written_alike(Node *call)
{
	List *args = NIL;
	ListCell *cell;

	if (IsA(call, FuncExpr))
		args = ((FuncExpr *) call)->args;
	else if (IsA(call, OpExpr))
		args = ((OpExpr *) call)->args;
	else if (IsA(call, Aggref))
		args = ((Aggref *) call)->args;
	foreach (cell, args)
	{
		Node *arg = lfirst(cell);

		/* What an aggregate is only ordered by is not written. */
		if (IsA(arg, TargetEntry) && ((TargetEntry *) arg)->resjunk)
			continue;
		if (IsA(arg, TargetEntry))
			arg = (Node *) ((TargetEntry *) arg)->expr;
		if (!is_written_alike(exprType(arg)))
			return false;
	}
	return true;
}

/*
 * The result of date_trunc with a zone changes with the data on zones only,
 * and later versions of the server call it immutable; the labels of an enum
 * change by ALTER TYPE only.
 */
static bool
is_as_good_as_immutable(Oid function, Node *call)
{
	return function == F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT ||
		function == F_ENUM_IN || function == F_ENUM_OUT ||
		(only_writes_text(function) && all_written_alike(call));
}

/* What a function is to the one who wrote the query. */
static char *
name_of(Oid function, Node *call)
{
	if (IsA(call, OpExpr) || IsA(call, DistinctExpr) || IsA(call, NullIfExpr))
		return psprintf("operator %s", get_opname(((OpExpr *) call)->opno));
	if (IsA(call, ScalarArrayOpExpr))
		return psprintf("operator %s",
						get_opname(((ScalarArrayOpExpr *) call)->opno));
	if (IsA(call, CoerceViaIO))
		return psprintf("the cast from %s to %s",
						format_type_be(
							exprType((Node *) ((CoerceViaIO *) call)->arg)),
						format_type_be(exprType(call)));
	if (IsA(call, FuncExpr) &&
		(((FuncExpr *) call)->funcformat == COERCE_EXPLICIT_CAST ||
		 ((FuncExpr *) call)->funcformat == COERCE_IMPLICIT_CAST))
		return psprintf("the cast from %s to %s",
						format_type_be(
							exprType(linitial(((FuncExpr *) call)->args))),
						format_type_be(exprType(call)));
	return psprintf("function %s()", get_func_name(function));
}

static bool
check_function(Oid function, void *call)
{
	char volatility = func_volatile(function);
	int location = exprLocation(call);

	if (volatility == PROVOLATILE_IMMUTABLE)
		return false;
	if (tells_the_time(function))
		aj_refuse(AJ_REFUSE_CURRENT_TIME, location, NULL);
	if (volatility == PROVOLATILE_VOLATILE)
		aj_refuse(AJ_REFUSE_VOLATILE, location, name_of(function, call));
	if (!is_as_good_as_immutable(function, call))
		aj_refuse(AJ_REFUSE_STABLE, location, name_of(function, call));
	return false;
}

/* Refuse what one node of an expression calls, if it is not immutable. */
void
aj_check_immutable(Node *node)
{
	(void) check_functions_in_node(node, check_function, node);
}
