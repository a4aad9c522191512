/*-------------------------------------------------------------------------
 *
 * capture_exec.c
 *	  Evaluates the conditions of our triggers without the server's help.
 *
 * The server would read the condition of a trigger from its text, plan it and
 * set it up for each statement, and then interpret it for each row; for a
 * statement that updates one row that is a quarter of its cost.  So, when a
 * statement starts, we put an expression of our own in the place where the
 * server looks for a condition that it has prepared before.  Its function
 * does what aggjobs.note_update() and note_delete() do (capture_call.c), with
 * the two rows at hand, and is always false like them.
 *
 * The condition stays the truth.  What it says is taken from its tree, and if
 * that is not exactly of the form that capture_install.c writes, the place is
 * left empty.  The same is so for whatever does not come by here: partitions
 * to which INSERT ... ON CONFLICT routes rows, logical replication, statements
 * that start before the library is loaded.  The server then prepares the
 * condition itself, and the same is noted.
 *
 * One thing is better known here than by the condition: which columns the
 * statement sets.  Where no BEFORE trigger may set others, only those are
 * compared.
 *
 * State: what conditions say, by table, private to the backend and kept until
 * the table changes.  A statement has a copy of its own, in its memory, so
 * that nothing can take it away.  A table can't change between the start of
 * the executor and ours: the statement has it locked.  No locks.  Failure:
 * none of its own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/capture_exec.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/sysattr.h"
#include "catalog/pg_attribute.h"
#include "catalog/source.h"
#include "executor/executor.h"
#include "nodes/primnodes.h"
#include "rollup/capture.h"
#include "rollup/capture_install.h"
#include "time/bucket.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

typedef struct Column
{
	AttrNumber number;
	int16 length;
	bool by_value;
} Column;

/* What the condition of a trigger says, or what a statement needs of it. */
typedef struct Condition
{
	Oid source;
	Oid time_type;
	AjEpoch epoch;
	AttrNumber time;
	bool always;	 /* note each row, whether a column differs or not */
	AttrNumber last; /* greatest number of those that are compared: */
	int ncolumns;
	Column columns[FLEXIBLE_ARRAY_MEMBER];
} Condition;

static Size
size_of_condition(int ncolumns)
{
	return offsetof(Condition, columns) + sizeof(Column) * (Size) ncolumns;
}

typedef enum Kind
{
	KIND_UPDATE,
	KIND_DELETE,
	NUMBER_OF_KINDS
} Kind;

typedef struct Known
{
	Oid table; /* key */
	bool is_read[NUMBER_OF_KINDS];
	Condition *conditions[NUMBER_OF_KINDS]; /* NULL: not of our form */
} Known;

static ExecutorStart_hook_type previous_start_hook = NULL;
static HTAB *known_tables = NULL;

/* -------------------------------------------------------- what is known */

static void
forget_entry(Known *known)
{
	for (int kind = 0; kind < NUMBER_OF_KINDS; kind++)
		if (known->conditions[kind] != NULL)
			pfree(known->conditions[kind]);
	(void) hash_search(known_tables, &known->table, HASH_REMOVE, NULL);
}

static void
forget_table(Datum arg, Oid table)
{
	HASH_SEQ_STATUS scan;
	Known *known;

	if (known_tables == NULL)
		return;
	if (table != InvalidOid)
	{
		known = hash_search(known_tables, &table, HASH_FIND, NULL);
		if (known != NULL)
			forget_entry(known);
		return;
	}
	hash_seq_init(&scan, known_tables);
	while ((known = hash_seq_search(&scan)) != NULL)
		forget_entry(known);
}

static Known *
enter_table(Oid table)
{
	bool found;
	Known *known;

	if (known_tables == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(Oid);
		control.entrysize = sizeof(Known);
		known_tables = hash_create("pg_aggjobs conditions of triggers", 32,
								   &control, HASH_ELEM | HASH_BLOBS);
	}
	known = hash_search(known_tables, &table, HASH_ENTER, &found);
	if (!found)
		MemSet((char *) known + sizeof(Oid), 0, sizeof(Known) - sizeof(Oid));
	return known;
}

/* ------------------------------------------------- reading a condition */

static bool
is_call_of(const FuncExpr *call, PGFunction function)
{
	FmgrInfo info;

	if (call->funcvariadic)
		return false;
	fmgr_info(call->funcid, &info);
	return info.fn_addr == function;
}

/* The column that an argument stands for, if it is one of the row's. */
static bool
read_column(Relation rel, const Node *argument, int row, Column *column)
{
	const Var *var = (const Var *) argument;
	Form_pg_attribute attribute;

	if (!IsA(argument, Var) || var->varno != row || var->varlevelsup != 0 ||
		var->varattno <= 0 || var->varattno > RelationGetDescr(rel)->natts)
		return false;
	attribute = TupleDescAttr(RelationGetDescr(rel), var->varattno - 1);
	/* What is generated when it is read is not in the row. */
	if (attribute->attisdropped || attribute->atttypid != var->vartype ||
		(attribute->attgenerated != '\0' &&
		 attribute->attgenerated != ATTRIBUTE_GENERATED_STORED))
		return false;
	column->number = var->varattno;
	column->length = attribute->attlen;
	column->by_value = attribute->attbyval;
	return true;
}

static bool
is_constant(const Node *argument, Oid type)
{
	return IsA(argument, Const) &&
		((const Const *) argument)->consttype == type &&
		!((const Const *) argument)->constisnull;
}

/* "OLD.c, NEW.c", or "false, true", which always differ. */
static bool
read_pair(Relation rel, const Node *before, const Node *after,
		  Condition *condition)
{
	Column *column = &condition->columns[condition->ncolumns];
	Column other;

	if (is_constant(before, BOOLOID) && is_constant(after, BOOLOID))
	{
		condition->always = true;
		return ((const Const *) before)->constvalue !=
			((const Const *) after)->constvalue;
	}
	if (!read_column(rel, before, PRS2_OLD_VARNO, column) ||
		!read_column(rel, after, PRS2_NEW_VARNO, &other) ||
		column->number != other.number)
		return false;
	condition->last = Max(condition->last, column->number);
	condition->ncolumns++;
	return true;
}

static bool
read_time(Relation rel, const Node *argument, Condition *condition)
{
	Column column;

	if (!read_column(rel, argument, PRS2_OLD_VARNO, &column))
		return false;
	condition->time = column.number;
	condition->time_type = ((const Var *) argument)->vartype;
	switch (condition->time_type)
	{
		case TIMESTAMPTZOID:
		case TIMESTAMPOID:
		case DATEOID:
			return true;
		case INT8OID:
			condition->epoch = aj_source_epoch(condition->source);
			return true;
		default:
			return false;
	}
}

/*
 * What the condition of a trigger says, in memory of the current context, or
 * NULL if it is not of our form.
 */
static Condition *
read_condition(Relation rel, const Trigger *trigger, Kind kind)
{
	const Node *tree = stringToNode(trigger->tgqual);
	const FuncExpr *call = (const FuncExpr *) tree;
	Condition *condition;
	int nargs;

	if (!IsA(tree, FuncExpr) ||
		!is_call_of(call,
					kind == KIND_UPDATE ? aggjobs_note_update
										: aggjobs_note_delete))
		return NULL;
	nargs = list_length(call->args);
	if (nargs < 2 || !is_constant(linitial(call->args), REGCLASSOID))
		return NULL;
	condition = palloc0(size_of_condition(nargs / 2));
	condition->source =
		DatumGetObjectId(((Const *) linitial(call->args))->constvalue);
	if (!read_time(rel, lsecond(call->args), condition))
		return NULL;
	if (kind == KIND_DELETE)
	{
		condition->always = true;
		return nargs == 2 ? condition : NULL;
	}
	if (nargs % 2 == 0)
		return NULL;
	for (int i = 1; i < nargs; i += 2)
		if (!read_pair(rel, list_nth(call->args, i),
					   list_nth(call->args, i + 1), condition))
			return NULL;
	return condition;
}

/* ------------------------------------------------------ for each statement */

static bool
kind_of(const Trigger *trigger, Kind *kind)
{
	if (trigger->tgqual == NULL)
		return false;
	if (strcmp(trigger->tgname, AJ_UPDATE_TRIGGER) == 0)
		*kind = KIND_UPDATE;
	else if (strcmp(trigger->tgname, AJ_DELETE_TRIGGER) == 0)
		*kind = KIND_DELETE;
	else
		return false;
	return true;
}

static const Condition *
condition_of(Relation rel, const Trigger *trigger, Kind kind)
{
	Oid table = RelationGetRelid(rel);
	Known *known = NULL;
	Condition *read;

	if (known_tables != NULL)
		known = hash_search(known_tables, &table, HASH_FIND, NULL);
	if (known != NULL && known->is_read[kind])
		return known->conditions[kind];

	/* Reading the catalog may bring an invalidation, so it comes first. */
	read = read_condition(rel, trigger, kind);
	known = enter_table(table);
	if (read != NULL)
	{
		Size size = size_of_condition(read->ncolumns);

		known->conditions[kind] = MemoryContextAlloc(CacheMemoryContext, size);
		memcpy(known->conditions[kind], read, size);
	}
	known->is_read[kind] = true;
	return known->conditions[kind];
}

/* A copy for a statement, without the columns that it can't change. */
static Condition *
copy_for(const Condition *whole, ResultRelInfo *target, EState *estate)
{
	Condition *copy = palloc(size_of_condition(whole->ncolumns));
	Bitmapset *set;

	memcpy(copy, whole, size_of_condition(whole->ncolumns));
	if (whole->always || target->ri_TrigDesc->trig_update_before_row)
		return copy;
	set = ExecGetAllUpdatedCols(target, estate);
	copy->last = 0;
	copy->ncolumns = 0;
	for (int i = 0; i < whole->ncolumns; i++)
	{
		AttrNumber number = whole->columns[i].number;

		if (!bms_is_member(number - FirstLowInvalidHeapAttributeNumber, set))
			continue;
		copy->columns[copy->ncolumns++] = whole->columns[i];
		copy->last = Max(copy->last, number);
	}
	return copy;
}

static void
note(const Condition *condition, TupleTableSlot *row)
{
	bool isnull;
	Datum time = slot_getattr(row, condition->time, &isnull);

	if (isnull)
		return;
	if (condition->time_type != TIMESTAMPTZOID)
		time = TimestampTzGetDatum(
			aj_axis_from_datum(condition->time_type, condition->epoch, time));
	aj_capture_write(condition->source, DatumGetTimestampTz(time));
}

static bool
column_differs(const Column *column, TupleTableSlot *before,
			   TupleTableSlot *after)
{
	int i = column->number - 1;
	NullableDatum old = {before->tts_values[i], before->tts_isnull[i]};
	NullableDatum new = {after->tts_values[i], after->tts_isnull[i]};

	if (column->by_value && !old.isnull && !new.isnull)
		return old.value != new.value;
	return aj_capture_differs(&old, &new, column->length, column->by_value);
}

static bool
row_differs(const Condition *condition, TupleTableSlot *before,
			TupleTableSlot *after)
{
	if (condition->always)
		return true;
	if (condition->ncolumns == 0)
		return false;
	slot_getsomeattrs(before, condition->last);
	slot_getsomeattrs(after, condition->last);
	for (int i = 0; i < condition->ncolumns; i++)
		if (column_differs(&condition->columns[i], before, after))
			return true;
	return false;
}

static bool
time_differs(const Condition *condition, TupleTableSlot *before,
			 TupleTableSlot *after)
{
	bool is_null_before;
	bool is_null_after;
	Datum old = slot_getattr(before, condition->time, &is_null_before);
	Datum new = slot_getattr(after, condition->time, &is_null_after);

	return is_null_before != is_null_after || old != new;
}

/* What the server calls for each row; it has the old one as the inner. */
static Datum
note_update(ExprState *state, ExprContext *context, bool *isnull)
{
	const Condition *condition = state->evalfunc_private;
	TupleTableSlot *before = context->ecxt_innertuple;
	TupleTableSlot *after = context->ecxt_outertuple;

	*isnull = false;
	if (!row_differs(condition, before, after))
		return BoolGetDatum(false);
	note(condition, before);
	if (time_differs(condition, before, after))
		note(condition, after);
	return BoolGetDatum(false);
}

static Datum
note_delete(ExprState *state, ExprContext *context, bool *isnull)
{
	const Condition *condition = state->evalfunc_private;

	*isnull = false;
	if (!aj_capture_is_suspended(condition->source))
		note(condition, context->ecxt_innertuple);
	return BoolGetDatum(false);
}

static ExprState *
make_expression(const Condition *condition, Kind kind, ResultRelInfo *target,
				EState *estate)
{
	MemoryContext saved = MemoryContextSwitchTo(estate->es_query_cxt);
	ExprState *state = makeNode(ExprState);

	state->flags = EEO_FLAG_IS_QUAL;
	state->evalfunc = kind == KIND_UPDATE ? note_update : note_delete;
	state->evalfunc_private = copy_for(condition, target, estate);
	MemoryContextSwitchTo(saved);
	return state;
}

/* Can a statement come to what a trigger is for? */
static bool
may_do(const QueryDesc *query, const ResultRelInfo *target, Kind kind)
{
	if (query->plannedstmt->hasModifyingCTE)
		return true;
	switch (query->operation)
	{
		case CMD_INSERT:
			return kind == KIND_UPDATE && target->ri_onConflict != NULL;
		case CMD_UPDATE:
			/* A row that moves to another partition is deleted from its own. */
			return kind == KIND_UPDATE ||
				target->ri_RelationDesc->rd_rel->relispartition;
		case CMD_DELETE:
			return kind == KIND_DELETE;
		default:
			return true;
	}
}

static void
prepare_target(ResultRelInfo *target, const QueryDesc *query)
{
	const TriggerDesc *triggers = target->ri_TrigDesc;

	if (triggers == NULL)
		return;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Condition *condition;
		Kind kind;

		if (!kind_of(&triggers->triggers[i], &kind) ||
			!may_do(query, target, kind) || target->ri_TrigWhenExprs[i] != NULL)
			continue;
		condition =
			condition_of(target->ri_RelationDesc, &triggers->triggers[i], kind);
		if (condition != NULL)
			target->ri_TrigWhenExprs[i] =
				make_expression(condition, kind, target, query->estate);
	}
}

static void
on_start(QueryDesc *query, int flags)
{
	ListCell *cell;

	if (previous_start_hook)
		previous_start_hook(query, flags);
	else
		standard_ExecutorStart(query, flags);
	/* Of a query that only reads there are none. */
	foreach (cell, query->estate->es_opened_result_relations)
		prepare_target(lfirst(cell), query);
}

/* Called once per process, when the library is loaded. */
void
aj_capture_exec_register(void)
{
	CacheRegisterRelcacheCallback(forget_table, (Datum) 0);
	previous_start_hook = ExecutorStart_hook;
	ExecutorStart_hook = on_start;
}
