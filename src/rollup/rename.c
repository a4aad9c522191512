/*-------------------------------------------------------------------------
 *
 * rename.c
 *	  Follows columns that are renamed.
 *
 * Tables, views and schemas are known by oid, and the query by the tree of the
 * live view, so that the server follows their names.  By name are known the
 * columns of a rollup's table, which its live view calls the same, and the
 * time column of its source.  When one is renamed, the other of table and view
 * is renamed with it, in the same statement: it fails as a whole, or both have
 * the new name.
 *
 * No state, no locks but those of ALTER.  Both are renamed with the rights of
 * the current user.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/rename.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/rollup.h"
#include "commands/event_trigger.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(aggjobs_on_rename);

/* The column of the table or live view, if it has the old name still. */
static void
rename_in(const char *kind, Oid relation, const char *relation_name,
		  const RenameStmt *statement)
{
	if (get_attnum(relation, statement->subname) == InvalidAttrNumber)
		return;
	aj_caller_command(psprintf("ALTER %s %s RENAME COLUMN %s TO %s", kind,
							   relation_name,
							   quote_identifier(statement->subname),
							   quote_identifier(statement->newname)));
}

/*
 * The row of the rollup is changed first: the statement that renames the other
 * comes here too, and finds nothing left to do.
 */
static void
follow(Oid relation, const RenameStmt *statement)
{
	AjRollup *rollup;

	aj_rollup_rename_time_column(relation, statement->subname,
								 statement->newname);
	rollup = aj_rollup_of_target(relation);
	if (rollup != NULL &&
		aj_rollup_rename_column(rollup, statement->subname, statement->newname))
		rename_in("VIEW", rollup->live, rollup->live_name, statement);
	rollup = aj_rollup_of_live(relation);
	if (rollup != NULL &&
		aj_rollup_rename_column(rollup, statement->subname, statement->newname))
		rename_in("TABLE", rollup->target, rollup->target_name, statement);
}

/*
 * aggjobs_on_rename
 *		Event trigger after ALTER TABLE and ALTER VIEW: was a column renamed?
 */
Datum
aggjobs_on_rename(PG_FUNCTION_ARGS)
{
	const RenameStmt *statement;
	ListCell *cell;
	Oid relation;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called as an event trigger")));
	statement =
		(RenameStmt *) ((EventTriggerData *) fcinfo->context)->parsetree;
	if (!IsA(statement, RenameStmt) || statement->renameType != OBJECT_COLUMN ||
		!aj_change_can_append())
		PG_RETURN_NULL();
	relation = RangeVarGetRelid(statement->relation, NoLock, true);
	if (relation == InvalidOid)
		PG_RETURN_NULL();
	CommandCounterIncrement();
	/* The tables that inherit the column have it renamed too. */
	foreach (cell, find_all_inheritors(relation, NoLock, NULL))
		follow(lfirst_oid(cell), statement);
	PG_RETURN_NULL();
}
