/*-------------------------------------------------------------------------
 *
 * verify_api.c
 *	  The SQL function that compares a rollup's table with its query.
 *
 * No state, no locks of their own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/verify_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "base/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "rollup/verify.h"

PG_FUNCTION_INFO_V1(aggjobs_verify);

static AjRollup *
rollup_argument(FunctionCallInfo fcinfo)
{
	aj_require_argument(fcinfo, 0, "the name of a rollup");
	return aj_rollup_find(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
}

/* How many buckets to draw; 0: all are wanted. */
static int
sample_argument(FunctionCallInfo fcinfo)
{
	int sample;

	if (PG_ARGISNULL(3))
		return 0;
	sample = PG_GETARG_INT32(3);
	if (sample < 1 || sample > AJ_MOST_SAMPLED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a sample must have 1 to %d buckets, not %d",
						AJ_MOST_SAMPLED, sample),
				 errhint("Leave \"sample\" out to compare all buckets.")));
	return sample;
}

/* Add the rows that differ within a range to the result. */
static void
verify_range(const AjRollup *rollup, AjRange range, ReturnSetInfo *result)
{
	TupleDesc desc;
	Tuplestorestate *store =
		aj_verify(rollup, range, CurrentMemoryContext, &desc);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		tuplestore_putvalues(result->setResult, result->setDesc,
							 slot->tts_values, slot->tts_isnull);
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(store);
}

static void
verify_sample(const AjRollup *rollup, AjRange range, int wanted,
			  ReturnSetInfo *result)
{
	AjSample sample = aj_verify_sample(rollup, range, wanted);

	for (int i = 0; i < sample.nranges; i++)
		verify_range(rollup, sample.ranges[i], result);
	if (sample.nbuckets == 0)
		ereport(NOTICE,
				(errmsg("no bucket of rollup \"%s\" could be compared",
						rollup->name),
				 errdetail("In that range all are open, stale or frozen.")));
	else
		ereport(NOTICE,
				(errmsg("compared %d buckets of rollup \"%s\"", sample.nbuckets,
						rollup->name),
				 errdetail("They are: %s.", aj_verify_sample_text(&sample))));
}

/*
 * aggjobs_verify(name, from, to, sample)
 *		-> bucket, key, difference, stored, computed
 *		Each row in which the table of a rollup differs from its query, in
 *		buckets that are neither open, stale nor frozen; with "sample" in so
 *		many of them, and a NOTICE says in which.
 *
 * Errors: 42704, 22023, 42501 without the right to read the source.
 */
Datum
aggjobs_verify(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AjRollup *rollup = rollup_argument(fcinfo);
	AjRange range = aj_range_arguments(fcinfo, 1);
	int sample = sample_argument(fcinfo);

	InitMaterializedSRF(fcinfo, 0);
	if (sample > 0)
		verify_sample(rollup, range, sample, result);
	else
		verify_range(rollup, range, result);
	PG_RETURN_NULL();
}
