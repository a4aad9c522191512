/*-------------------------------------------------------------------------
 *
 * refresh_api.c
 *	  SQL functions that keep rollups fresh: refresh, mark changed, retire.
 *
 * The work is done in rollup/; here are arguments, rights and transactions.
 * No state, no locks of their own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/refresh_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/source.h"
#include "miscadmin.h"
#include "rollup/capture.h"
#include "rollup/refresh.h"
#include "rollup/retention.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(aggjobs_refresh);
PG_FUNCTION_INFO_V1(aggjobs_mark_changed);
PG_FUNCTION_INFO_V1(aggjobs_retire);

/* End the transaction of a CALL and begin the next, with a snapshot. */
static void
commit_call(void *arg)
{
	aj_spi_commit();
	EnsurePortalSnapshotExists();
}

/*
 * CALL aggjobs_refresh(name, from, to)
 *		Compute what is due of a rollup and of those below it; with a range,
 *		all its buckets, due or not.  Commits as it goes unless called inside
 *		a transaction block.
 *
 * Errors: 42704, 42501, 22023, 55000; what the query raises.
 */
Datum
aggjobs_refresh(PG_FUNCTION_ARGS)
{
	bool may_commit = aj_spi_is_nonatomic(fcinfo);
	AjRefresh refresh = {.now = aj_now(), .at = AJ_NO_TIME};
	AjRange range;

	aj_require_primary(fcinfo);
	aj_require_argument(fcinfo, 0, "the name of a rollup");
	if (!PG_ARGISNULL(1) || !PG_ARGISNULL(2))
	{
		range = aj_range_arguments(fcinfo, 1);
		refresh.within = &range;
	}
	if (may_commit)
	{
		aj_spi_open_nonatomic();
		refresh.commit = commit_call;
	}
	aj_refresh(aj_rollup_find(text_to_cstring(PG_GETARG_TEXT_PP(0)), false),
			   &refresh);
	if (may_commit)
		aj_spi_close_nonatomic();
	PG_RETURN_VOID();
}

/* The source in an argument; whoever may not write it may not say it was. */
static Oid
source_argument(FunctionCallInfo fcinfo, AclMode needed)
{
	Oid source;

	aj_require_argument(fcinfo, 0, "the table");
	source = PG_GETARG_OID(0);
	if (get_rel_name(source) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table with oid %u does not exist", source)));
	if (pg_class_aclcheck(source, GetUserId(), needed) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s",
						get_rel_name(source))));
	if (!aj_source_exists(source))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "table \"%s\" is no source of a rollup that captures changes",
				 get_rel_name(source)),
			 errhint(
				 "List the rollups and their sources with SELECT rollup_name, source FROM aggjobs.rollups.")));
	return source;
}

/*
 * aggjobs_mark_changed(source, from, to)
 *		Count a range of a source as changed, though no row was written: for
 *		changes of tables that rollups join.
 *
 * Errors: 42501 without the right to update the source, 55000, 22023.
 */
Datum
aggjobs_mark_changed(PG_FUNCTION_ARGS)
{
	Oid source = source_argument(fcinfo, ACL_UPDATE);
	AjRange range = aj_range_arguments(fcinfo, 1);

	aj_require_primary(fcinfo);
	aj_capture_range(source, range.from, range.to);
	PG_RETURN_VOID();
}

/*
 * aggjobs_retire(source, before, delete_rows) -> where the frozen line is now
 *		Freeze the rollups of a source before an instant and remove its rows
 *		before it: whole partitions are dropped, rows deleted.
 *
 * Errors: 42501, 55000.
 */
Datum
aggjobs_retire(PG_FUNCTION_ARGS)
{
	AjRetire retire = {0};
	AjSource *source;

	aj_require_primary(fcinfo);
	retire.table = source_argument(fcinfo, ACL_DELETE);
	aj_require_argument(fcinfo, 1, "\"before\"");
	source = aj_source_find(retire.table);
	retire.time_column = source->time_column;
	retire.before = PG_GETARG_TIMESTAMPTZ(1);
	retire.keep_rows = !PG_ARGISNULL(2) && !PG_GETARG_BOOL(2);
	aj_retire(&retire);
	if (retire.limit == AJ_NO_TIME)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(retire.limit);
}
