/*-------------------------------------------------------------------------
 *
 * part.c
 *	  Runs the command of a step of kind "parts" for one part.
 *
 * A part is a row of the step's query: its values are those of the command's
 * parameters, of the types of the query's columns.  They are kept as text, as
 * the output functions of their types gave them; the names and types of the
 * columns are kept with the backfill, once.
 *
 * The command runs like that of any job (run/command_step.c): in a transaction
 * that also says that the part is done, or, if it commits by itself, before
 * that.  Runs as the current user.  No state, no locks of its own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/part.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "base/tx.h"
#include "miscadmin.h"
#include "parser/parse_type.h"
#include "run/command.h"
#include "run/part.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define MOST_COLUMNS 100
#define ANY_TYPMOD (-1)

static char *
number_key(int i)
{
	return psprintf("%d", i + 1);
}

static void
check_columns(TupleDesc desc)
{
	if (desc->natts < 1 || desc->natts > MOST_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query that lists the parts must return 1 to %d "
						"columns, not %d",
						MOST_COLUMNS, desc->natts)));
	for (int i = 0; i < desc->natts; i++)
		for (int k = 0; k < i; k++)
			if (strcmp(NameStr(TupleDescAttr(desc, i)->attname),
					   NameStr(TupleDescAttr(desc, k)->attname)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("the query that lists the parts returns two "
								"columns \"%s\"",
								NameStr(TupleDescAttr(desc, i)->attname)),
						 errhint("Give one of them another name with AS.")));
}

/*
 * aj_part_work
 *		What the workers need to know of a step with such parts:
 *		{"step": ..., "names": {"1": ...}, "types": {"1": ...}}.
 */
Jsonb *
aj_part_work(const Jsonb *step, TupleDesc desc)
{
	AjJson work;
	AjJson names;
	AjJson types;

	check_columns(desc);
	aj_json_begin(&work);
	aj_json_begin(&names);
	aj_json_begin(&types);
	for (int i = 0; i < desc->natts; i++)
	{
		const FormData_pg_attribute *column = TupleDescAttr(desc, i);

		aj_json_add_text(&names, number_key(i), NameStr(column->attname));
		aj_json_add_text(&types, number_key(i),
						 format_type_extended(column->atttypid, ANY_TYPMOD,
											  FORMAT_TYPE_FORCE_QUALIFY));
	}
	aj_json_add_json(&work, "step", step);
	aj_json_add_json(&work, "names", aj_json_end(&names));
	aj_json_add_json(&work, "types", aj_json_end(&types));
	return aj_json_end(&work);
}

/* A row as an object of its columns' texts; NULLs are left out. */
Jsonb *
aj_part_of_row(TupleTableSlot *slot)
{
	TupleDesc desc = slot->tts_tupleDescriptor;
	AjJson part;

	slot_getallattrs(slot);
	aj_json_begin(&part);
	for (int i = 0; i < desc->natts; i++)
	{
		Oid function;
		bool is_varlena;

		if (slot->tts_isnull[i])
			continue;
		getTypeOutputInfo(TupleDescAttr(desc, i)->atttypid, &function,
						  &is_varlena);
		aj_json_add_text(&part, NameStr(TupleDescAttr(desc, i)->attname),
						 OidOutputFunctionCall(function, slot->tts_values[i]));
	}
	return aj_json_end(&part);
}

/* The parameters of the command, in the current memory context. */
static void
read_values(const Jsonb *work, const Jsonb *part, AjCommandValues *values)
{
	Jsonb *names = aj_json_field(work, "names");
	Jsonb *types = aj_json_field(work, "types");
	char *type;
	int n = 0;

	values->types = palloc(sizeof(Oid) * MOST_COLUMNS);
	values->list = makeParamList(MOST_COLUMNS);
	while (n < MOST_COLUMNS &&
		   (type = aj_json_text_field(types, number_key(n))) != NULL)
	{
		ParamExternData *value = &values->list->params[n];
		char *text =
			aj_json_text_field(part, aj_json_text_field(names, number_key(n)));
		Oid input;
		Oid io_parameter;
		int32 typmod;

		aj_parse_type(type, &values->types[n], &typmod);
		getTypeInputInfo(values->types[n], &input, &io_parameter);
		value->isnull = text == NULL;
		value->pflags = PARAM_FLAG_CONST;
		value->ptype = values->types[n];
		value->value =
			OidInputFunctionCall(input, text, io_parameter, ANY_TYPMOD);
		n++;
	}
	values->n = values->list->numParams = n;
}

/*
 * aj_part_run
 *		Run the command of "work" for one part; returns how many rows it wrote
 *		or returned.
 *
 * Is called in a transaction of our own, and leaves another one open, in which
 * the caller says that the part is done: that of the command, if it can be.
 * What it allocates lives in "context", beyond transactions.
 */
int64
aj_part_run(const Jsonb *work, const Jsonb *part, MemoryContext context)
{
	AjCommandValues values;
	char *command;
	bool bare;
	int64 rows;

	MemoryContextSwitchTo(context);
	command = aj_json_text_field(aj_json_field(work, "step"), "command");
	bare = aj_command_is_bare(command);
	read_values(work, part, &values);
	aj_tx_commit();
	if (bare)
		aj_tx_begin_bare(command);
	else
		aj_tx_begin_users(command);
	MemoryContextSwitchTo(context);
	rows = aj_command_run(command, &values, context, NULL);
	if (!bare && aj_tx_make_own())
		return rows;
	aj_tx_commit();
	aj_tx_begin("store that a part is done");
	MemoryContextSwitchTo(context);
	return rows;
}
