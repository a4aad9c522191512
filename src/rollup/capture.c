/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  Notes which hours of a source a transaction has written.
 *
 * Row triggers collect the hours of old and new rows in backend memory; just
 * before the transaction commits, or is prepared, they are appended to
 * aggjobs.change as ranges, so that the data and the note about it become
 * visible together.  Writers wait for nobody: each appends rows of its own.
 *
 * Doubt means "note it".  Hours written by a part that was rolled back to a
 * savepoint stay noted, and a transaction that writes very many different
 * hours notes all that lies between the first and the last.
 *
 * State: private to the backend, in TopTransactionContext, gone with the
 * transaction.  No locks.  Failure: an error while appending fails the
 * writer's commit, as it must: a lost note would be a wrong answer.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/capture.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "catalog/rollup.h"
#include "commands/trigger.h"
#include "rollup/capture.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define HOUR INT64CONST(3600000000)
#define MAX_HOURS 10000

PG_FUNCTION_INFO_V1(aggjobs_capture_row);
PG_FUNCTION_INFO_V1(aggjobs_capture_truncate);

typedef struct Source
{
	Oid relid;
	struct Source *next;
	HTAB *hours; /* set of int64; NULL once there are too many */
	int64 first; /* least and greatest hour written */
	int64 last;
	bool everything; /* TRUNCATE */
} Source;

static Source *sources = NULL;
static Oid suspended = InvalidOid; /* table whose rows retention removes */

/* Start of the hour, in hours since the epoch of timestamps. */
static int64
hour_of(TimestampTz t)
{
	return t >= 0 ? t / HOUR : (t - (HOUR - 1)) / HOUR;
}

static Source *
find_source(Oid relid)
{
	Source *source;

	for (source = sources; source != NULL; source = source->next)
		if (source->relid == relid)
			return source;

	source = MemoryContextAllocZero(TopTransactionContext, sizeof(Source));
	source->relid = relid;
	source->first = PG_INT64_MAX;
	source->last = PG_INT64_MIN;
	source->next = sources;
	sources = source;
	return source;
}

static HTAB *
make_hour_set(void)
{
	HASHCTL control = {0};

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(int64);
	control.hcxt = TopTransactionContext;
	return hash_create("pg_aggjobs written hours", 64, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
note_hour(Source *source, int64 hour)
{
	bool is_first = source->first > source->last;

	if (source->first == hour && source->last == hour)
		return;
	source->first = Min(source->first, hour);
	source->last = Max(source->last, hour);
	if (is_first)
		source->hours = make_hour_set();
	if (source->hours == NULL)
		return;
	(void) hash_search(source->hours, &hour, HASH_ENTER, NULL);
	if (hash_get_num_entries(source->hours) > MAX_HOURS)
	{
		hash_destroy(source->hours);
		source->hours = NULL;
	}
}

/* Note the time of one row; times without a bucket are none of our business. */
static void
note_row(Source *source, HeapTuple row, int column, TupleDesc desc)
{
	bool isnull;
	Datum value = heap_getattr(row, column, desc, &isnull);

	if (!isnull && !TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value)))
		note_hour(source, hour_of(DatumGetTimestampTz(value)));
}

/* The number of the time column named by the trigger's argument. */
static int
time_column(const TriggerData *trigger)
{
	Relation rel = trigger->tg_relation;
	const char *name;
	AttrNumber column;

	if (trigger->tg_trigger->tgnargs != 1)
		ereport(
			ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg(
				 "trigger \"%s\" must name the time column as its one argument",
				 trigger->tg_trigger->tgname)));
	name = trigger->tg_trigger->tgargs[0];
	column = get_attnum(RelationGetRelid(rel), name);
	if (column <= 0 ||
		TupleDescAttr(RelationGetDescr(rel), column - 1)->atttypid !=
			TIMESTAMPTZOID)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg(
				 "column \"%s\" of type timestamptz does not exist in \"%s\"",
				 name, RelationGetRelationName(rel)),
			 errdetail("Trigger \"%s\" needs it to note what was written.",
					   trigger->tg_trigger->tgname)));
	return column;
}

/* The data of a call as a trigger of this kind; in any other there is no row. */
static TriggerData *
check_trigger(FunctionCallInfo fcinfo, bool for_row)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		(for_row ? !TRIGGER_FIRED_FOR_ROW(trigger->tg_event)
				 : !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event)))
		ereport(
			ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 for_row
				 ? errmsg("function must be called as an AFTER ROW trigger")
				 : errmsg(
					   "function must be called as an AFTER TRUNCATE trigger")));
	return trigger;
}

/*
 * aggjobs_capture_row
 *		AFTER ROW trigger for INSERT, UPDATE and DELETE on a source; its
 *		argument is the name of the time column.
 */
Datum
aggjobs_capture_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = check_trigger(fcinfo, true);
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	Source *source;
	int column;

	if (suspended == RelationGetRelid(trigger->tg_relation))
		PG_RETURN_POINTER(NULL);
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		int *found = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(int));

		*found = time_column(trigger);
		fcinfo->flinfo->fn_extra = found;
	}
	column = *(int *) fcinfo->flinfo->fn_extra;

	source = find_source(RelationGetRelid(trigger->tg_relation));
	note_row(source, trigger->tg_trigtuple, column, desc);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		note_row(source, trigger->tg_newtuple, column, desc);
	PG_RETURN_POINTER(NULL);
}

/*
 * aggjobs_capture_truncate
 *		AFTER TRUNCATE trigger on a source: all of it was written.
 */
Datum
aggjobs_capture_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = check_trigger(fcinfo, false);

	find_source(RelationGetRelid(trigger->tg_relation))->everything = true;
	PG_RETURN_POINTER(NULL);
}

static int
compare_hours(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

static void
append_hours(Oid relid, int64 first, int64 last)
{
	aj_change_add(relid, first * HOUR, (last + 1) * HOUR);
}

/* Append one range per run of neighbouring hours. */
static void
append_hour_set(const Source *source)
{
	HASH_SEQ_STATUS scan;
	int64 *entry;
	long n = 0;
	int64 *hours =
		palloc(sizeof(int64) * (Size) hash_get_num_entries(source->hours));
	int64 first;

	hash_seq_init(&scan, source->hours);
	while ((entry = hash_seq_search(&scan)) != NULL)
		hours[n++] = *entry;
	qsort(hours, (size_t) n, sizeof(int64), compare_hours);

	first = hours[0];
	for (long i = 1; i < n; i++)
	{
		if (hours[i] == hours[i - 1] + 1)
			continue;
		append_hours(source->relid, first, hours[i - 1]);
		first = hours[i];
	}
	append_hours(source->relid, first, hours[n - 1]);
	pfree(hours);
}

static void
append_source(const Source *source)
{
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->relid)))
		return;
	if (source->everything)
		aj_change_add(source->relid, DT_NOBEGIN, DT_NOEND);
	else if (source->first > source->last)
		return;
	else if (source->hours != NULL)
		append_hour_set(source);
	else
		append_hours(source->relid, source->first, source->last);
}

static void
append_all(void)
{
	Oid schema = get_namespace_oid("aggjobs", true);
	bool read_only = XactReadOnly;

	/* The extension itself may have been dropped by this transaction. */
	if (schema == InvalidOid ||
		get_relname_relid("change", schema) == InvalidOid)
		return;
	/* SET TRANSACTION READ ONLY may have come after the rows were written. */
	XactReadOnly = false;
	PushActiveSnapshot(GetTransactionSnapshot());
	for (Source *source = sources; source != NULL; source = source->next)
		append_source(source);
	PopActiveSnapshot();
	XactReadOnly = read_only;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (sources != NULL)
				append_all();
			sources = NULL;
			break;
		case XACT_EVENT_ABORT:
			sources = NULL;
			break;
		default:
			break;
	}
}

/*
 * aj_capture_suspend, aj_capture_resume
 *		Retention deletes rows of a table without making their buckets stale.
 *		Who suspends resumes, also after an error.
 */
void
aj_capture_suspend(Oid table)
{
	suspended = table;
}

void
aj_capture_resume(void)
{
	suspended = InvalidOid;
}

/* Called once per process, when the library is loaded. */
void
aj_capture_register(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}
