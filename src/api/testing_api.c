/*-------------------------------------------------------------------------
 *
 * testing_api.c
 *	  SQL functions of a test build, which tests declare themselves.
 *
 * A release build has none of them.  How to use them: doc/dev/faults.md
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/testing_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/testing.h"

#ifdef AGGJOBS_TESTING

#include "base/clock.h"
#include "shmem/segment.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(aggjobs_test_clock);
PG_FUNCTION_INFO_V1(aggjobs_test_now);
PG_FUNCTION_INFO_V1(aggjobs_test_arm);
PG_FUNCTION_INFO_V1(aggjobs_test_release);
PG_FUNCTION_INFO_V1(aggjobs_test_hits);
PG_FUNCTION_INFO_V1(aggjobs_test_waiting);

/*
 * aggjobs_test_clock(at timestamptz, runs boolean, noticed boolean) -> void
 *		Let the clock show this instant, and run on from there or stand still;
 *		NULL: the real time.  All our processes look at it at once if
 *		"noticed"; if not, it is as when somebody sets the clock of the machine.
 */
Datum
aggjobs_test_clock(PG_FUNCTION_ARGS)
{
	TimestampTz at;

	aj_segment_require("aggjobs_test_clock()");
	if (PG_ARGISNULL(0))
		aj_testing_set_clock(AJ_CLOCK_REAL, 0);
	else
	{
		at = PG_GETARG_TIMESTAMPTZ(0);
		if (PG_GETARG_BOOL(1))
			aj_testing_set_clock(AJ_CLOCK_SHIFTED,
								 at - aj_real_instant(aj_now()));
		else
			aj_testing_set_clock(AJ_CLOCK_STANDING, at);
	}
	if (PG_GETARG_BOOL(2))
		aj_segment_wake_all();
	PG_RETURN_VOID();
}

/* aggjobs_test_now() -> what the clock shows */
Datum
aggjobs_test_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(aj_now());
}

static AjFaultAction
action_of(const char *name)
{
	static const char *const names[] = {
		[AJ_FAULT_COUNT] = "count", [AJ_FAULT_WAIT] = "wait",
		[AJ_FAULT_ERROR] = "error", [AJ_FAULT_FATAL] = "fatal",
		[AJ_FAULT_PANIC] = "panic",
	};

	for (size_t i = 0; i < lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
			return (AjFaultAction) i;
	elog(ERROR, "unknown action \"%s\"", name);
}

static char *
pattern_argument(FunctionCallInfo fcinfo)
{
	aj_segment_require("a fault point");
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

/*
 * aggjobs_test_arm(pattern text, action text, skip integer, times integer)
 *		-> void
 *		Let something happen at fault points: count, wait, error, fatal or
 *		panic; the first "skip" times nothing, then so many times, or always
 *		if "times" is below 0.
 */
Datum
aggjobs_test_arm(PG_FUNCTION_ARGS)
{
	aj_fault_arm(pattern_argument(fcinfo),
				 action_of(text_to_cstring(PG_GETARG_TEXT_PP(1))),
				 PG_GETARG_INT32(2), PG_GETARG_INT32(3));
	PG_RETURN_VOID();
}

/* aggjobs_test_release(pattern text) -> void: disarm it, let go who waits */
Datum
aggjobs_test_release(PG_FUNCTION_ARGS)
{
	aj_fault_release(pattern_argument(fcinfo));
	PG_RETURN_VOID();
}

/* aggjobs_test_hits(pattern text) -> how often its points were reached */
Datum
aggjobs_test_hits(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(aj_fault_look(pattern_argument(fcinfo)).hits);
}

/* aggjobs_test_waiting(pattern text) -> how many processes wait there */
Datum
aggjobs_test_waiting(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(aj_fault_look(pattern_argument(fcinfo)).waiting);
}

#endif /* AGGJOBS_TESTING */
