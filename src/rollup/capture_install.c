/*-------------------------------------------------------------------------
 *
 * capture_install.c
 *	  Puts the capture of a source in place, keeps it there, removes it.
 *
 * Capture of a source is an index of access method aggjobs on its time column
 * and two row triggers, whose conditions note what is updated and deleted;
 * partitions get theirs from the server.  They belong to the user's table, are
 * dumped with it, and the key of each rollup's target depends on them: they
 * can't be dropped without it.
 *
 * Installing takes SHARE ROW EXCLUSIVE on the source, so that every writer
 * that is still at work when the first rollup is made ends before it.
 *
 * Runs with the rights of the current user, who must own the source.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/capture_install.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_trigger.h"
#include "catalog/source.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "rollup/capture_install.h"
#include "shmem/gate.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"

/* The condition can have 100 arguments: the source and so many pairs. */
#define MAX_PAIRS 49

/* Our index on a table, or InvalidOid. */
static Oid
capture_index(Oid source)
{
	Oid am = get_am_oid("aggjobs", true);
	Relation rel = table_open(source, AccessShareLock);
	List *indexes = RelationGetIndexList(rel);
	ListCell *cell;
	Oid found = InvalidOid;

	foreach (cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_rel->relam == am)
			found = lfirst_oid(cell);
		index_close(index, AccessShareLock);
	}
	table_close(rel, AccessShareLock);
	return found;
}

static void
create_index(Oid source, const char *time_column, AjEpoch epoch)
{
	char *options = "";

	if (epoch != AJ_EPOCH_NONE)
		options = psprintf(" WITH (epoch = '%s')", aj_epoch_text(epoch));
	aj_caller_command(psprintf("CREATE INDEX ON %s USING aggjobs (%s)%s",
							   aj_qualified_name(source),
							   quote_identifier(time_column), options));
}

/*
 * "OLD.c, NEW.c" for each column that is read, the time column first; all
 * updates count where the columns are unknown or too many to compare.
 */
static char *
update_pairs(Oid source, const char *time_column, const Bitmapset *read)
{
	StringInfoData pairs;
	const char *time = quote_identifier(time_column);
	int npairs = 1;
	int bit = -1;

	if (read == NULL)
		return psprintf("OLD.%s, NEW.%s, false, true", time, time);
	initStringInfo(&pairs);
	appendStringInfo(&pairs, "OLD.%s, NEW.%s", time, time);
	while ((bit = bms_next_member(read, bit)) >= 0)
	{
		char *name = get_attname(source, (AttrNumber) bit, true);

		if (name == NULL || strcmp(name, time_column) == 0)
			continue;
		if (++npairs > MAX_PAIRS)
			return psprintf("OLD.%s, NEW.%s, false, true", time, time);
		appendStringInfo(&pairs, ", OLD.%s, NEW.%s", quote_identifier(name),
						 quote_identifier(name));
	}
	return pairs.data;
}

static void
create_triggers(Oid source, const char *time_column, const Bitmapset *read)
{
	char *table = aj_qualified_name(source);
	char *constant = quote_literal_cstr(table);

	aj_caller_command(psprintf(
		"CREATE OR REPLACE TRIGGER " AJ_UPDATE_TRIGGER " AFTER UPDATE ON %s"
		" FOR EACH ROW WHEN (aggjobs.note_update(%s::regclass, %s))"
		" EXECUTE FUNCTION aggjobs.capture_row()",
		table, constant, update_pairs(source, time_column, read)));
	aj_caller_command(psprintf(
		"CREATE OR REPLACE TRIGGER " AJ_DELETE_TRIGGER " AFTER DELETE ON %s"
		" FOR EACH ROW WHEN (aggjobs.note_delete(%s::regclass, OLD.%s))"
		" EXECUTE FUNCTION aggjobs.capture_row()",
		table, constant, quote_identifier(time_column)));
	aj_caller_command(
		psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER " AJ_UPDATE_TRIGGER
				 ", ENABLE ALWAYS TRIGGER " AJ_DELETE_TRIGGER,
				 table));
}

/* The condition of our trigger for updates as it is now, or NULL. */
static Node *
update_condition(Relation rel)
{
	const TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (strcmp(triggers->triggers[i].tgname, AJ_UPDATE_TRIGGER) == 0 &&
			triggers->triggers[i].tgqual != NULL)
			return stringToNode(triggers->triggers[i].tgqual);
	return NULL;
}

/* Is it the form of update_pairs() by which all updates count? */
static bool
compares_nothing(const Node *condition)
{
	const FuncExpr *call = (const FuncExpr *) condition;

	return IsA(call, FuncExpr) && call->args != NIL &&
		IsA(llast(call->args), Const);
}

static Bitmapset *
all_columns(Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);
	Bitmapset *columns = NULL;

	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			columns = bms_add_member(columns, i + 1);
	return columns;
}

/* Columns of the old row in a condition. */
static Bitmapset *
columns_in(Node *condition)
{
	Bitmapset *offset = NULL;
	Bitmapset *columns = NULL;
	int bit = -1;

	pull_varattnos(condition, PRS2_OLD_VARNO, &offset);
	while ((bit = bms_next_member(offset, bit)) >= 0)
		columns =
			bms_add_member(columns, bit + FirstLowInvalidHeapAttributeNumber);
	return columns;
}

/*
 * aj_capture_columns
 *		Columns of a source of which an update counts, by attribute number:
 *		those that the condition of our trigger compares, or all.
 *
 * What is there now, whatever the snapshot of the transaction.
 */
Bitmapset *
aj_capture_columns(Oid source)
{
	Relation rel;
	Node *condition;
	Bitmapset *columns = NULL;

	/* The lock may be one that we have had since before it changed. */
	AcceptInvalidationMessages();
	rel = table_open(source, AccessShareLock);
	condition = update_condition(rel);
	if (condition != NULL)
		columns = compares_nothing(condition) ? all_columns(rel)
											  : columns_in(condition);
	table_close(rel, AccessShareLock);
	return columns;
}

static void
check_time_column(const AjSource *known, const char *time_column, AjEpoch epoch)
{
	if (strcmp(known->time_column, time_column) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("rollups of \"%s\" can't go by column \"%s\"",
					get_rel_name(known->source), time_column),
			 errdetail(
				 "Others go by column \"%s\", and changes of a table are captured by one time column.",
				 known->time_column),
			 errhint(
				 "Use that column, or keep the rollup with lookback => N.")));
	if (known->epoch != epoch)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rollups of \"%s\" count its time in units of a %s",
						get_rel_name(known->source),
						aj_epoch_text(known->epoch)),
				 errhint("Give the same epoch.")));
}

/* Is something missing of what captures the writes to a source? */
static bool
is_incomplete(Oid source)
{
	return capture_index(source) == InvalidOid ||
		get_trigger_oid(source, AJ_UPDATE_TRIGGER, true) == InvalidOid ||
		get_trigger_oid(source, AJ_DELETE_TRIGGER, true) == InvalidOid;
}

/*
 * aj_capture_install
 *		See to it that all writes to a source are captured: times by
 *		"time_column", updates of the columns "read", by attribute number.
 *
 * Whatever is there already is kept and, where needed, added to: the condition
 * never compares less than before, for other rollups rely on it.  Errors:
 * 0A000 where other rollups of the source go by another column; those of
 * CREATE INDEX and CREATE TRIGGER.
 */
void
aj_capture_install(Oid source, const char *time_column, AjEpoch epoch,
				   const Bitmapset *read)
{
	AjSource *known = aj_source_find(source);
	AjSource stored = {source, unconstify(char *, time_column), epoch};
	Bitmapset *compared;
	char *problem;

	if (known != NULL)
		check_time_column(known, time_column, epoch);
	else
		aj_source_store(&stored);
	aj_source_lock(source);
	/* With a trigger is lost what it compared for other rollups. */
	if (known != NULL && is_incomplete(source))
		aj_capture_reinstall(source, time_column, epoch);
	if (capture_index(source) == InvalidOid)
		create_index(source, time_column, epoch);
	/* Not before the lock, or what others add meanwhile would get lost. */
	compared = aj_capture_columns(source);
	if (compared == NULL || !bms_is_subset(read, compared) ||
		get_trigger_oid(source, AJ_DELETE_TRIGGER, true) == InvalidOid)
		create_triggers(source, time_column, bms_union(compared, read));
	aj_capture_sync_parts(source, time_column, epoch);
	CommandCounterIncrement();
	problem = aj_capture_check(source);
	if (problem != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("changes of \"%s\" can't be captured: %s",
					get_rel_name(source), problem),
			 errhint(
				 "Keep the rollup with lookback => N, which needs no capture.")));
}

/* The constraint on the key of a rollup's target, or InvalidOid. */
static Oid
key_of_target(const AjRollup *rollup)
{
	AjSpi spi;
	Oid constraint = InvalidOid;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	if (aj_spi_run("SELECT c.oid FROM pg_constraint c WHERE c.conrelid = $1"
				   " AND c.contype = 'u' ORDER BY c.oid LIMIT 1",
				   AJ_ARGS(aj_arg_oid(rollup->target))) > 0)
		constraint = aj_spi_oid(0, 1);
	aj_spi_close(&spi);
	return constraint;
}

/* Whoever dropped the index with CASCADE dropped the target's key with it. */
static void
restore_key(const AjRollup *rollup)
{
	StringInfoData columns;

	if (key_of_target(rollup) != InvalidOid)
		return;
	initStringInfo(&columns);
	appendStringInfoString(&columns, quote_identifier(rollup->bucket_column));
	for (int i = 0; i < rollup->nkeys; i++)
		appendStringInfo(&columns, ", %s", quote_identifier(rollup->keys[i]));
	aj_caller_command(
		psprintf("ALTER TABLE %s ADD UNIQUE NULLS NOT DISTINCT (%s)",
				 rollup->target_name, columns.data));
}

/*
 * aj_capture_reinstall
 *		Put back what was lost of a source's capture.  Which columns its
 *		rollups read is not known here, so that from now on every update
 *		counts.
 */
void
aj_capture_reinstall(Oid source, const char *time_column, AjEpoch epoch)
{
	int n;
	AjRollup **rollups = aj_rollups_of(source, &n);

	if (capture_index(source) == InvalidOid)
		create_index(source, time_column, epoch);
	create_triggers(source, time_column, NULL);
	for (int i = 0; i < n; i++)
	{
		restore_key(rollups[i]);
		aj_capture_depend(rollups[i]);
	}
}

/*
 * aj_capture_remove
 *		A rollup of a source was dropped: if it was the last, remove the
 *		capture too.
 */
void
aj_capture_remove(Oid source)
{
	int n;
	Oid index;

	(void) aj_rollups_of(source, &n);
	if (n > 0 || !aj_source_exists(source))
		return;
	aj_source_delete(source);
	aj_gate_forget(MyDatabaseId, source);
	if (get_rel_name(source) == NULL)
		return;
	aj_caller_command(psprintf("DROP TRIGGER IF EXISTS " AJ_UPDATE_TRIGGER
							   " ON %s",
							   aj_qualified_name(source)));
	aj_caller_command(psprintf("DROP TRIGGER IF EXISTS " AJ_DELETE_TRIGGER
							   " ON %s",
							   aj_qualified_name(source)));
	index = capture_index(source);
	if (index != InvalidOid)
		aj_caller_command(psprintf("DROP INDEX %s", aj_qualified_name(index)));
}

static bool
depends(Oid constraint, Oid class, Oid object)
{
	AjSpi spi;
	bool found;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	found = aj_spi_run("SELECT FROM pg_depend d"
					   " WHERE d.classid = 'pg_constraint'::regclass"
					   " AND d.objid = $1 AND d.refclassid = $2"
					   " AND d.refobjid = $3",
					   AJ_ARGS(aj_arg_oid(constraint), aj_arg_oid(class),
							   aj_arg_oid(object))) > 0;
	aj_spi_close(&spi);
	return found;
}

static void
depend_on(Oid constraint, Oid class, Oid object)
{
	ObjectAddress key;
	ObjectAddress referenced;

	if (constraint == InvalidOid || object == InvalidOid ||
		depends(constraint, class, object))
		return;
	ObjectAddressSet(key, ConstraintRelationId, constraint);
	ObjectAddressSet(referenced, class, object);
	recordDependencyOn(&key, &referenced, DEPENDENCY_NORMAL);
}

/*
 * aj_capture_depend
 *		Make the key of a rollup's target depend on the capture of its source.
 *
 * The key, and not the live view: a dump restores views before indexes and
 * triggers, but keys with them.
 */
void
aj_capture_depend(const AjRollup *rollup)
{
	Oid source = rollup->source;
	Oid key;

	if (rollup->lookback > 0)
		return;
	CommandCounterIncrement();
	key = key_of_target(rollup);
	depend_on(key, RelationRelationId, capture_index(source));
	depend_on(key, TriggerRelationId,
			  get_trigger_oid(source, AJ_UPDATE_TRIGGER, true));
	depend_on(key, TriggerRelationId,
			  get_trigger_oid(source, AJ_DELETE_TRIGGER, true));
}

/*
 * aj_capture_independ
 *		A target that is kept as a plain table does not depend on the capture
 *		of its former source any more.
 */
void
aj_capture_independ(const AjRollup *rollup)
{
	Oid key = key_of_target(rollup);
	Oid source = rollup->source;

	if (key == InvalidOid)
		return;
	(void) deleteDependencyRecordsForSpecific(ConstraintRelationId, key,
											  DEPENDENCY_NORMAL,
											  RelationRelationId,
											  capture_index(source));
	(void) deleteDependencyRecordsForSpecific(
		ConstraintRelationId, key, DEPENDENCY_NORMAL, TriggerRelationId,
		get_trigger_oid(source, AJ_UPDATE_TRIGGER, true));
	(void) deleteDependencyRecordsForSpecific(
		ConstraintRelationId, key, DEPENDENCY_NORMAL, TriggerRelationId,
		get_trigger_oid(source, AJ_DELETE_TRIGGER, true));
	CommandCounterIncrement();
}
