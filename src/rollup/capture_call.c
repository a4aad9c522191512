/*-------------------------------------------------------------------------
 *
 * capture_call.c
 *	  What the triggers on a source call: notes updates and deletes.
 *
 * The triggers are
 *
 *		AFTER UPDATE ... FOR EACH ROW
 *			WHEN (aggjobs.note_update(source, OLD.t, NEW.t, OLD.a, NEW.a, ...))
 *		AFTER DELETE ... FOR EACH ROW
 *			WHEN (aggjobs.note_delete(source, OLD.t))
 *
 * where a, ... are the columns that rollups read.  The condition does the
 * work and is always false: so the server never queues the event, which is
 * most of what a row trigger costs.
 *
 * They are called where capture_exec.c does not do the same without a call.
 *
 * The functions are for everybody to call, as conditions of triggers have to
 * be.  Whoever calls them by hand makes work for a refresh, and no more.
 *
 * State: what is known about the arguments, with the call.  No locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/capture_call.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "catalog/change.h"
#include "catalog/source.h"
#include "commands/trigger.h"
#include "rollup/capture.h"
#include "time/bucket.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(aggjobs_note_update);
PG_FUNCTION_INFO_V1(aggjobs_note_delete);
PG_FUNCTION_INFO_V1(aggjobs_capture_row);

/* Kept in fn_extra: how to read and compare the arguments. */
typedef struct CallFacts
{
	Oid source;
	Oid time_type;
	AjEpoch epoch;
	int npairs; /* of old and new values, that of the time the first */
	struct
	{
		int16 length;
		bool by_value;
	} pairs[FLEXIBLE_ARRAY_MEMBER];
} CallFacts;

static Oid
argument_type(FunctionCallInfo fcinfo, int i)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, i);

	if (type == InvalidOid)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg(
					 "function must be called in the condition of a trigger")));
	return type;
}

static CallFacts *
make_facts(FunctionCallInfo fcinfo)
{
	int npairs = (PG_NARGS() - 1) / 2;
	CallFacts *facts = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
											  offsetof(CallFacts, pairs) +
												  sizeof(facts->pairs[0]) *
													  (Size) Max(npairs, 1));

	facts->source = PG_GETARG_OID(0);
	facts->time_type = argument_type(fcinfo, 1);
	if (facts->time_type != TIMESTAMPTZOID &&
		facts->time_type != TIMESTAMPOID && facts->time_type != DATEOID &&
		facts->time_type != INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type %s can't be the time of a row",
						format_type_be(facts->time_type))));
	if (facts->time_type == INT8OID)
		facts->epoch = aj_source_epoch(facts->source);
	facts->npairs = npairs;
	for (int i = 0; i < npairs; i++)
		get_typlenbyval(argument_type(fcinfo, 1 + 2 * i),
						&facts->pairs[i].length, &facts->pairs[i].by_value);
	fcinfo->flinfo->fn_extra = facts;
	return facts;
}

static CallFacts *
facts_of(FunctionCallInfo fcinfo)
{
	CallFacts *facts = fcinfo->flinfo->fn_extra;

	if (facts != NULL)
		return facts;
	if (PG_NARGS() < 2 || PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg(
					 "function must be called in the condition of a trigger")));
	return make_facts(fcinfo);
}

/*
 * aj_capture_differs
 *		Is a value of a column not what it was before, by its bytes?
 *
 * Equal bytes are an equal value also where they say where it is stored, and
 * then it need not be fetched.
 */
bool
aj_capture_differs(const NullableDatum *before, const NullableDatum *after,
				   int16 length, bool by_value)
{
	if (before->isnull || after->isnull)
		return before->isnull != after->isnull;
	if (by_value)
		return before->value != after->value;
	if (length == -1)
	{
		const void *old = DatumGetPointer(before->value);
		const void *new = DatumGetPointer(after->value);

		if (VARSIZE_ANY(old) == VARSIZE_ANY(new) &&
			memcmp(old, new, VARSIZE_ANY(old)) == 0)
			return false;
	}
	return !datum_image_eq(before->value, after->value, by_value, length);
}

static bool
pair_differs(FunctionCallInfo fcinfo, const CallFacts *facts, int i)
{
	return aj_capture_differs(&fcinfo->args[1 + 2 * i],
							  &fcinfo->args[2 + 2 * i], facts->pairs[i].length,
							  facts->pairs[i].by_value);
}

static void
note(const CallFacts *facts, const NullableDatum *time)
{
	if (!time->isnull)
		aj_capture_write(facts->source,
						 aj_axis_from_datum(facts->time_type, facts->epoch,
											time->value));
}

/*
 * aggjobs_note_update
 *		Condition of the trigger for updates: source, old and new time, then
 *		old and new value of each other column that counts.  Always false.
 */
Datum
aggjobs_note_update(PG_FUNCTION_ARGS)
{
	CallFacts *facts = facts_of(fcinfo);

	for (int i = 0; i < facts->npairs; i++)
	{
		if (!pair_differs(fcinfo, facts, i))
			continue;
		note(facts, &fcinfo->args[1]);
		if (pair_differs(fcinfo, facts, 0))
			note(facts, &fcinfo->args[2]);
		break;
	}
	PG_RETURN_BOOL(false);
}

/*
 * aggjobs_note_delete
 *		Condition of the trigger for deletes: source, old time.  Always false.
 */
Datum
aggjobs_note_delete(PG_FUNCTION_ARGS)
{
	CallFacts *facts = facts_of(fcinfo);

	if (!aj_capture_is_suspended(facts->source))
		note(facts, &fcinfo->args[1]);
	PG_RETURN_BOOL(false);
}

/*
 * aggjobs_capture_row
 *		What the triggers would execute if their conditions were ever true.
 */
Datum
aggjobs_capture_row(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("function must not be called"),
			 errdetail("It is there for triggers whose condition notes what "
					   "was written and is never true.")));
	PG_RETURN_NULL();
}
