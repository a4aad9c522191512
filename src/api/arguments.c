/*-------------------------------------------------------------------------
 *
 * arguments.c
 *	  What several SQL functions take and need.
 *
 * No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/arguments.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xlog.h"
#include "api/arguments.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* Error 22004 if an argument is NULL. */
void
aj_require_argument(FunctionCallInfo fcinfo, int i, const char *what)
{
	if (PG_ARGISNULL(i))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", what)));
}

/*
 * aj_require_primary
 *		Error 25006 on a standby, on which the function that was called can do
 *		nothing.
 */
void
aj_require_primary(FunctionCallInfo fcinfo)
{
	if (RecoveryInProgress())
		ereport(
			ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot execute %s() on a standby",
					get_func_name(fcinfo->flinfo->fn_oid)),
			 errhint(
				 "Call it on the primary, or promote this server with SELECT pg_promote().")));
}

/*
 * aj_range_arguments
 *		The half-open range from argument "first" to the next one; NULL: no
 *		bound.  Error 22023 if it is empty.
 */
AjRange
aj_range_arguments(FunctionCallInfo fcinfo, int first)
{
	AjRange range;

	range.from =
		PG_ARGISNULL(first) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(first);
	range.to =
		PG_ARGISNULL(first + 1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(first + 1);
	if (range.from >= range.to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("range from %s to %s is empty",
						pstrdup(timestamptz_to_str(range.from)),
						pstrdup(timestamptz_to_str(range.to))),
				 errhint("The end must be later than the start.")));
	return range;
}
