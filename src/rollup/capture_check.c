/*-------------------------------------------------------------------------
 *
 * capture_check.c
 *	  Finds out whether the capture of a source is whole, and mends it.
 *
 * The check runs after each DDL statement that may matter, by event trigger,
 * and before each refresh.  While something is amiss, a change row for all
 * time stands for what may be missed: live views are then computed from raw
 * rows, and so stay right.  A refresh mends the capture first; where that
 * can't be done it computes nothing, and says why.
 *
 * State: aggjobs.source, source_part and rollup_state.  Runs with the lock on
 * the row of the source where it writes.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/capture_check.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "catalog/job.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/source.h"
#include "commands/event_trigger.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "rollup/capture.h"
#include "rollup/capture_install.h"
#include "shmem/gate.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(aggjobs_on_ddl);
PG_FUNCTION_INFO_V1(aggjobs_on_detach);
PG_FUNCTION_INFO_V1(aggjobs_on_rewrite);

/*
 * One row of text for each thing that is amiss with the capture of table $1,
 * whose time column is $2, counted in units of $3 or NULL: first what can be
 * mended, then what can't.
 *
 * All of it in one snapshot.  pg_partition_tree() has the partitions as they
 * are by now, and one that came since would seem to have no capture; and it
 * locks them.
 */
static const char *const problems_sql =
	"WITH RECURSIVE tables (oid) AS ("
	" SELECT $1 UNION ALL"
	" SELECT i.inhrelid FROM tables t"
	" JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'p'"
	" JOIN pg_inherits i ON i.inhparent = t.oid WHERE NOT i.inhdetachpending)"
	" SELECT format('table %s has no index that captures its inserts', t.oid::regclass)"
	" FROM tables t WHERE NOT EXISTS (SELECT FROM pg_index i"
	" JOIN pg_class c ON c.oid = i.indexrelid"
	" JOIN pg_am m ON m.oid = c.relam"
	" JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
	" WHERE i.indrelid = t.oid AND m.amname = 'aggjobs' AND i.indisvalid"
	" AND i.indisready AND i.indpred IS NULL AND a.attname = $2::text)"
	" UNION ALL"
	" SELECT format('table %s has no enabled trigger %I', t.oid::regclass, w.name)"
	" FROM tables t, (VALUES ('aggjobs_capture_update'), ('aggjobs_capture_delete')) w (name)"
	" WHERE NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.oid"
	" AND g.tgname = w.name AND g.tgenabled = 'A'"
	" AND (g.tgparentid <> 0 OR EXISTS (SELECT FROM pg_depend d"
	" JOIN pg_proc p ON p.oid = d.refobjid WHERE d.objid = g.oid"
	" AND d.classid = 'pg_trigger'::regclass"
	" AND d.refclassid = 'pg_proc'::regclass AND p.pronamespace = 'aggjobs'::regnamespace"
	" AND p.proname = replace(w.name, 'aggjobs_capture', 'note'))))"
	" UNION ALL"
	" SELECT format('table %s inherits from it, and its rows are not captured', h.inhrelid::regclass)"
	" FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhparent"
	" WHERE h.inhparent = $1 AND c.relkind = 'r'"
	" UNION ALL"
	" SELECT format('column %I may be NULL', $2::text) WHERE NOT EXISTS ("
	" SELECT FROM pg_attribute a WHERE a.attrelid = $1 AND a.attname = $2::text"
	" AND a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint o"
	" WHERE o.conrelid = $1 AND o.contype = 'n' AND NOT o.convalidated"
	" AND o.conkey = ARRAY[a.attnum]))"
	" UNION ALL"
	" SELECT format('table %s is not logged, and empty after a crash', c.oid::regclass)"
	" FROM tables t JOIN pg_class c ON c.oid = t.oid WHERE c.relpersistence = 'u'"
	" UNION ALL"
	" SELECT format('index %s counts time in another unit than %s', c.oid::regclass, $3)"
	" FROM tables t JOIN pg_index i ON i.indrelid = t.oid"
	" JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam"
	" WHERE m.amname = 'aggjobs' AND $3::text IS NOT NULL"
	" AND NOT coalesce(c.reloptions, '{}') @> ARRAY['epoch=' || $3]"
	" UNION ALL"
	" SELECT format('table %s hides rows from its owner by FORCE ROW LEVEL SECURITY', c.oid::regclass)"
	" FROM pg_class c WHERE c.oid = $1 AND c.relrowsecurity AND c.relforcerowsecurity";

/*
 * The first problem, or NULL.  In the latest snapshot: what somebody broke
 * since ours was taken is not captured either.
 */
static char *
find_problem(const AjSource *source)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *problem = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_read_latest(problems_sql,
						   AJ_ARGS(aj_arg_oid(source->source),
								   aj_arg_text(source->time_column),
								   aj_arg_text(aj_epoch_text(source->epoch)))) >
		0)
		problem = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	return problem;
}

/* The index knows the column by number, whatever it is called by now. */
static void
follow_rename(AjSource *source)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *name = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT a.attname::text FROM pg_index i"
				   " JOIN pg_class c ON c.oid = i.indexrelid"
				   " JOIN pg_am m ON m.oid = c.relam"
				   " JOIN pg_attribute a ON a.attrelid = i.indrelid"
				   " AND a.attnum = i.indkey[0]"
				   " WHERE i.indrelid = $1 AND m.amname = 'aggjobs'",
				   AJ_ARGS(aj_arg_oid(source->source))) > 0)
		name = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	if (name == NULL || strcmp(name, source->time_column) == 0)
		return;
	source->time_column = name;
	aj_source_store(source);
}

/*
 * aj_capture_is_whole
 *		Is all captured that is written to a rollup's source from now on?
 */
bool
aj_capture_is_whole(const AjRollup *rollup)
{
	const AjSource source = {.source = rollup->source,
							 .time_column = rollup->time_column,
							 .epoch = rollup->bucket.epoch};

	return find_problem(&source) == NULL;
}

static void
tell_rollups(Oid source, const char *problem)
{
	int n;
	AjRollup **rollups = aj_rollups_of(source, &n);

	for (int i = 0; i < n; i++)
		if (problem != NULL || aj_rollup_has_problem(rollups[i]->name))
			aj_rollup_set_problem(rollups[i]->name, problem);
}

static bool
is_gone(Oid table)
{
	return get_rel_name(table) == NULL;
}

/*
 * aj_capture_check
 *		What is amiss with the capture of a source, or NULL.  If anything is,
 *		all of the source counts as changed from here on.
 */
char *
aj_capture_check(Oid source)
{
	AjSource *known = aj_source_find(source);
	char *problem;

	if (known == NULL)
		return NULL;
	if (is_gone(source))
	{
		aj_source_delete(source);
		aj_gate_forget(MyDatabaseId, source);
		return NULL;
	}
	follow_rename(known);
	aj_capture_sync_parts(source, known->time_column, known->epoch);
	problem = find_problem(known);
	if (problem != NULL)
		aj_change_note_everything(source);
	tell_rollups(source, problem);
	return problem;
}

/*
 * aj_capture_mend
 *		Make the capture of a source whole, or say why that can't be done:
 *		error 55000.
 *
 * The change row for all time was written by aj_capture_check(), or is
 * written here, in the transaction that mends: what happened in between is
 * covered by it.
 */
void
aj_capture_mend(Oid source)
{
	AjSource *known;
	char *problem = aj_capture_check(source);

	if (problem == NULL)
		return;
	known = aj_source_find(source);
	ereport(NOTICE,
			(errmsg("changes of \"%s\" were not captured in full: %s",
					get_rel_name(source), problem),
			 errdetail(
				 "Capture is put right, and everything is computed again.")));
	aj_capture_reinstall(source, known->time_column, known->epoch);
	CommandCounterIncrement();
	problem = aj_capture_check(source);
	if (problem != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("changes of \"%s\" can't be captured: %s",
					get_rel_name(source), problem),
			 errdetail(
				 "Live views of its rollups are computed from raw rows until this is put right."),
			 errhint(
				 "Put it right, or drop the rollups with aggjobs_drop_rollup().")));
}

/*
 * aj_capture_absorb
 *		Turn the change rows of a source into stale rows of its rollups; where
 *		capture is broken, a row for all time is left.
 *
 * Capture may have been broken since it was looked at, and the row that says
 * so be among those that were taken: who takes one looks again afterwards.
 */
void
aj_capture_absorb(Oid source)
{
	if (!aj_change_absorb(source))
		return;
	CommandCounterIncrement();
	(void) aj_capture_check(source);
}

/* Rollups whose table or view was dropped go, and so do their own jobs. */
static void
delete_orphans(void)
{
	int n;
	char **names = aj_rollup_delete_orphans(&n);

	for (int i = 0; i < n; i++)
		aj_job_delete_of_rollup(names[i], true);
}

/* Check all sources of the database. */
static void
check_all(void)
{
	int n;
	AjSource *sources;

	delete_orphans();
	sources = aj_sources(&n);
	for (int i = 0; i < n; i++)
		(void) aj_capture_check(sources[i].source);
}

static bool
may_be_null(Oid table, const char *column)
{
	HeapTuple tuple = SearchSysCacheAttName(table, column);
	bool may;

	if (!HeapTupleIsValid(tuple))
		return false;
	may = !((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
	ReleaseSysCache(tuple);
	return may;
}

/* Rows without a time would be a bucket that no live view has. */
static void
refuse_null_times(Oid table)
{
	List *tables = find_all_inheritors(table, NoLock, NULL);
	int n;
	AjSource *sources = aj_sources(&n);

	for (int i = 0; i < n; i++)
	{
		if (!list_member_oid(tables, sources[i].source) ||
			!may_be_null(sources[i].source, sources[i].time_column))
			continue;
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("column \"%s\" of table \"%s\" must stay NOT NULL",
					sources[i].time_column, get_rel_name(sources[i].source)),
			 errdetail("It is the time by which rollups of the table go."),
			 errhint("Drop the rollups first, with aggjobs_drop_rollup().")));
	}
}

/* Of DDL that has just been done, refuse what live views can't follow. */
static void
refuse_what_was_done(const EventTriggerData *data)
{
	const AlterTableStmt *statement;
	ListCell *cell;

	if (!IsA(data->parsetree, AlterTableStmt))
		return;
	statement = (const AlterTableStmt *) data->parsetree;
	foreach (cell, statement->cmds)
	{
		AlterTableType type = lfirst_node(AlterTableCmd, cell)->subtype;
		Oid table;

		/* A constraint may be what kept it from being NULL. */
		if (type != AT_DropNotNull && type != AT_DropConstraint)
			continue;
		table = RangeVarGetRelid(statement->relation, NoLock, true);
		if (table != InvalidOid)
			refuse_null_times(table);
		return;
	}
}

/*
 * What a virtual column says of each row may be something else from now on,
 * and there is no rewrite to tell of it.
 */
static void
note_expressions(const AlterTableStmt *statement)
{
	bool some = false;
	ListCell *cell;
	Oid table;

	foreach (cell, statement->cmds)
		some |= aj_sets_expression(lfirst_node(AlterTableCmd, cell));
	if (!some)
		return;
	table = RangeVarGetRelid(statement->relation, NoLock, true);
	if (table == InvalidOid)
		return;
	foreach (cell, find_all_inheritors(table, NoLock, NULL))
		aj_capture_range(lfirst_oid(cell), DT_NOBEGIN, DT_NOEND);
}

/* Has anything gone that a source, or a rollup, may be made of? */
static bool
drops_of_tables(void)
{
	AjSpi spi;
	bool some;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	some = aj_spi_run("SELECT FROM pg_event_trigger_dropped_objects() o"
					  " WHERE NOT o.is_temporary AND o.classid IN"
					  " ('pg_class'::regclass, 'pg_trigger'::regclass,"
					  " 'pg_constraint'::regclass) LIMIT 1",
					  AJ_NO_ARGS) > 0;
	aj_spi_close(&spi);
	return some;
}

/*
 * Can a statement have anything to do with sources?  Temporary tables come and
 * go often, and each source that is looked at costs a millisecond.
 */
static bool
may_concern_sources(const EventTriggerData *data)
{
	if (strcmp(data->event, "sql_drop") == 0)
		return drops_of_tables();
	if (IsA(data->parsetree, CreateStmt))
		return ((const CreateStmt *) data->parsetree)->inhRelations != NIL;
	return true;
}

/*
 * aggjobs_on_ddl
 *		Event trigger after DDL: check all sources.
 *
 * Errors: 2BP01 if the time column of one may be NULL from now on.
 */
Datum
aggjobs_on_ddl(PG_FUNCTION_ARGS)
{
	EventTriggerData *data = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called as an event trigger")));
	if (!may_concern_sources(data))
		PG_RETURN_NULL();
	if (IsA(data->parsetree, AlterTableStmt))
		note_expressions((AlterTableStmt *) data->parsetree);
	if (aj_change_can_append())
	{
		refuse_what_was_done((EventTriggerData *) fcinfo->context);
		check_all();
	}
	PG_RETURN_NULL();
}

/*
 * A partition goes: note its range for each source that it is a part of, and
 * forget it.
 */
static void
note_part(Oid part)
{
	int n;
	AjSource *sources = aj_sources(&n);

	for (int i = 0; i < n; i++)
	{
		AjChange change = {.source = sources[i].source,
						   .range = {DT_NOBEGIN, DT_NOEND}};

		if (!aj_source_cut_to_part(change.source, part, &change.range))
			continue;
		aj_change_append(&change);
		/* If it is attached again, that must not look like no change. */
		aj_source_delete_part(change.source, part);
	}
}

/*
 * aggjobs_on_detach
 *		Event trigger before ALTER TABLE: DETACH CONCURRENTLY takes effect in
 *		a transaction of its own, which is the one that we are in, and not at
 *		the end of the statement.
 */
Datum
aggjobs_on_detach(PG_FUNCTION_ARGS)
{
	EventTriggerData *data = (EventTriggerData *) fcinfo->context;
	ListCell *cell;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called as an event trigger")));
	if (!IsA(data->parsetree, AlterTableStmt) || !aj_change_can_append())
		PG_RETURN_NULL();
	foreach (cell, ((AlterTableStmt *) data->parsetree)->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);
		Oid part;

		if (command->subtype != AT_DetachPartition ||
			!castNode(PartitionCmd, command->def)->concurrent)
			continue;
		part = RangeVarGetRelid(castNode(PartitionCmd, command->def)->name,
								NoLock, true);
		if (part != InvalidOid)
			note_part(part);
	}
	PG_RETURN_NULL();
}

/*
 * aggjobs_on_rewrite
 *		Event trigger before a table is rewritten: what its rows say may be
 *		something else afterwards.
 */
Datum
aggjobs_on_rewrite(PG_FUNCTION_ARGS)
{
	Oid table;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called as an event trigger")));
	table = DatumGetObjectId(
		OidFunctionCall0(F_PG_EVENT_TRIGGER_TABLE_REWRITE_OID));
	aj_capture_range(table, DT_NOBEGIN, DT_NOEND);
	PG_RETURN_NULL();
}
