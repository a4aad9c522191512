/*-------------------------------------------------------------------------
 *
 * schedule_api.c
 *	  Look at a schedule from SQL before a job has it.
 *
 * Both functions only calculate: they read the settings that "${NAME}" stands
 * for and no other table.  Locks: none.  Failure: bad text is an error that
 * shows the column, so that these double as a check of a schedule.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/schedule_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/clock.h"
#include "catalog/setting.h"
#include "time/schedule.h"

#define PREVIEW_DEFAULT 5
#define PREVIEW_MOST 10000

PG_FUNCTION_INFO_V1(aggjobs_preview_schedule);
PG_FUNCTION_INFO_V1(aggjobs_explain_schedule);

/* Read the schedule, the first argument of both functions. */
static void
schedule_argument(FunctionCallInfo fcinfo, AjSchedule *schedule)
{
	char *written = text_to_cstring(PG_GETARG_TEXT_PP(0));

	aj_schedule_check(aj_setting_expand(written), schedule);
}

/* Look up the zone, the second argument of both functions. */
static pg_tz *
zone_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		return aj_zone_lookup("UTC");
	return aj_zone_lookup(text_to_cstring(PG_GETARG_TEXT_PP(1)));
}

/* How many slots are asked for. */
static int
count_argument(FunctionCallInfo fcinfo)
{
	int count = PG_ARGISNULL(2) ? PREVIEW_DEFAULT : PG_GETARG_INT32(2);

	if (count < 1 || count > PREVIEW_MOST)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("cannot preview %d slots", count),
			 errhint(
				 "Ask for 1 to %d slots; go on with the last one as \"after\".",
				 PREVIEW_MOST)));
	return count;
}

/*
 * aggjobs_preview_schedule
 *		The next slots of a schedule, later than "after" or the present.
 *
 * Runs are taken to need no time, so that "after 10 minutes" gives steps of
 * ten minutes.  No schedule (a job that runs only by hand) has no slots.
 */
Datum
aggjobs_preview_schedule(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AjSchedule schedule;
	pg_tz *zone;
	int left;
	TimestampTz slot;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	schedule_argument(fcinfo, &schedule);
	zone = zone_argument(fcinfo);
	left = count_argument(fcinfo);
	slot = PG_ARGISNULL(3) ? aj_now() : PG_GETARG_TIMESTAMPTZ(3);

	while (left-- > 0 && aj_next_slot(&schedule, zone, slot, &slot))
	{
		Datum value = TimestampTzGetDatum(slot);
		bool isnull = false;

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}

/*
 * aggjobs_explain_schedule
 *		A sentence that says when a schedule is due.
 *
 * The zone is named where it matters and is not UTC.
 */
Datum
aggjobs_explain_schedule(PG_FUNCTION_ARGS)
{
	AjSchedule schedule;
	const char *zone;
	char *sentence;

	if (PG_ARGISNULL(0))
		PG_RETURN_TEXT_P(cstring_to_text("only when it is triggered"));
	schedule_argument(fcinfo, &schedule);
	zone = pg_get_timezone_name(zone_argument(fcinfo));
	sentence = aj_schedule_explain(&schedule);
	if (schedule.kind != AJ_SCHEDULE_AFTER &&
		schedule.kind != AJ_SCHEDULE_START && strcmp(zone, "UTC") != 0)
		sentence = psprintf("%s, %s time", sentence, zone);
	PG_RETURN_TEXT_P(cstring_to_text(sentence));
}
