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
#include "miscadmin.h"

/*
 * aj_backfill_argument
 *		The backfill in the first argument, if the caller may act on it.
 *
 * Errors: 22004, 42704, 42501.
 */
AjBackfill *
aj_backfill_argument(FunctionCallInfo fcinfo)
{
	AjBackfill *backfill;
	int64 id;

	aj_require_argument(fcinfo, 0, "the id of a backfill");
	id = PG_GETARG_INT64(0);
	backfill = aj_backfill_find(id);
	if (backfill == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("backfill " INT64_FORMAT " does not exist", id),
				 errhint("List them with SELECT * FROM aggjobs.backfills.")));
	if (!has_privs_of_role(GetUserId(), backfill->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for backfill " INT64_FORMAT, id)));
	return backfill;
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
