/*-------------------------------------------------------------------------
 *
 * backfill_argument.c
 *	  The backfill that a function is to act on.
 *
 * No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/backfill_argument.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "api/backfill_argument.h"

/*
 * aj_backfill_argument
 *		The backfill in the first argument, if the caller may act on it.
 *
 * Errors: 22004, 42704, 42501.
 */
AjBackfill *
aj_backfill_argument(FunctionCallInfo fcinfo)
{
	aj_require_argument(fcinfo, 0, "the id of a backfill");
	return aj_backfill_allowed(PG_GETARG_INT64(0));
}

/* Error 55000: it is in no state to be "what". */
void
aj_complain_of_backfill(const AjBackfill *backfill, const char *what,
						const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("backfill " INT64_FORMAT " is %s and can't be %s",
					backfill->backfill_id, backfill->state, what),
			 errhint("%s", hint)));
}
