/*-------------------------------------------------------------------------
 *
 * first_row.c
 *	  Keeps the first row that a command returns.
 *
 * A destination for query results that remembers what a person would look
 * for in the record of a run, such as the answer of "SELECT count(*)", and
 * drops the rest.  At most 20 columns of 200 bytes are kept.
 *
 * No state of its own, no locks.  The row lives in the context given.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/first_row.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/json.h"
#include "mb/pg_wchar.h"
#include "run/first_row.h"
#include "utils/lsyscache.h"

#define MAX_COLUMNS 20
#define MAX_BYTES 200

static char *
column_text(TupleTableSlot *slot, int column)
{
	Oid function;
	bool is_varlena;
	char *text;

	if (slot->tts_isnull[column])
		return NULL;
	getTypeOutputInfo(
		TupleDescAttr(slot->tts_tupleDescriptor, column)->atttypid, &function,
		&is_varlena);
	text = OidOutputFunctionCall(function, slot->tts_values[column]);
	text[pg_mbcliplen(text, (int) strlen(text), MAX_BYTES)] = '\0';
	return text;
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	AjFirstRow *first = (AjFirstRow *) self;
	TupleDesc desc = slot->tts_tupleDescriptor;
	MemoryContext saved;
	AjJson row;

	if (first->started)
		return true;
	first->started = true;
	slot_getallattrs(slot);
	saved = MemoryContextSwitchTo(first->context);
	aj_json_begin(&row);
	for (int i = 0; i < Min(desc->natts, MAX_COLUMNS); i++)
		aj_json_add_text(&row, NameStr(TupleDescAttr(desc, i)->attname),
						 column_text(slot, i));
	first->row = aj_json_end(&row);
	MemoryContextSwitchTo(saved);
	return true;
}

static void
start(DestReceiver *self, int operation, TupleDesc desc)
{
	/* Rows bring their description with them. */
}

static void
nothing(DestReceiver *self)
{
	/* What is kept belongs to the caller. */
}

/* Make "first" ready to be a destination; its row will live in "context". */
void
aj_first_row_init(AjFirstRow *first, MemoryContext context)
{
	memset(first, 0, sizeof(*first));
	first->receiver.receiveSlot = receive;
	first->receiver.rStartup = start;
	first->receiver.rShutdown = nothing;
	first->receiver.rDestroy = nothing;
	first->receiver.mydest = DestNone;
	first->context = context;
}
