/*-------------------------------------------------------------------------
 *
 * catch_up.c
 *	  What becomes of the slots of a job that have come.
 *
 * Mostly there is one, and it is run.  After a downtime, a jump of the clock
 * or a long pass there are more, and the job says which of them are run: none
 * that is late (skip), the last one (last), or all of them, up to a number,
 * the newest (all).  None is run later than the job's starting deadline.  All
 * others become one row that tells how many were missed.
 *
 * What it costs does not depend on how many slots passed: they are counted,
 * and the last ones found, by calculation (time/missed.c).
 *
 * No state, no locks; allocates in the current memory context.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/catch_up.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "process/catch_up.h"
#include "time/missed.h"
#include "utils/fmgrprotos.h"

/* A scheduler that is on time looks much earlier. */
#define ON_TIME_MS 10000

/* Slots before this instant are not run. */
static TimestampTz
earliest_to_run(const AjDueSlots *due, TimestampTz now)
{
	if (due->deadline != NULL)
		return DatumGetTimestampTz(DirectFunctionCall2(
			timestamptz_mi_interval, TimestampTzGetDatum(now),
			IntervalPGetDatum(due->deadline)));
	if (due->catch_up == AJ_CATCH_UP_SKIP)
		return TimestampTzPlusMilliseconds(now, -ON_TIME_MS);
	return DT_NOBEGIN;
}

/* Is this kind of schedule one whose next slot is counted from the last? */
static bool
has_sequence(const AjSchedule *schedule)
{
	return schedule->kind == AJ_SCHEDULE_CRON ||
		schedule->kind == AJ_SCHEDULE_EVERY;
}

/*
 * The newest slots that are run, the oldest first; at most "most" of those
 * from "first" to "last" that are not before "earliest".  Returns how many.
 */
static int
slots_to_run(const AjDueSlots *due, TimestampTz first, TimestampTz last,
			 TimestampTz earliest, int most, TimestampTz *slots)
{
	TimestampTz slot = last;
	int n = 0;

	while (n < most && slot >= earliest)
	{
		slots[n++] = slot;
		if (slot == first ||
			!aj_previous_slot(due->schedule, due->zone, first - 1, slot - 1,
							  &slot))
			break;
	}
	for (int i = 0; i < n / 2; i++)
	{
		TimestampTz swapped = slots[i];

		slots[i] = slots[n - 1 - i];
		slots[n - 1 - i] = swapped;
	}
	return n;
}

static void
add_row(AjFiredJob *fired, TimestampTz slot, TimestampTz until, int64 count,
		AjFate fate)
{
	AjFiredSlot *row = &fired->rows[fired->nrows++];

	row->slot = slot;
	row->until = count > 1 ? until : AJ_NO_TIME;
	row->count = count;
	row->fate = fate;
}

/* The slots from the first on that are not run, as one row. */
static void
add_missed(const AjDueSlots *due, AjFiredJob *fired, int64 count,
		   TimestampTz first_run)
{
	TimestampTz until = fired->last_slot;

	if (count == 0)
		return;
	if (first_run != AJ_NO_TIME && count > 1)
		(void) aj_previous_slot(due->schedule, due->zone, fired->slot - 1,
								first_run - 1, &until);
	add_row(fired, fired->slot, until, count, AJ_FATE_MISSED);
}

/*
 * aj_catch_up
 *		Fill "fired", in which the planned slot is set, with what becomes of
 *		that slot and of those after it up to now, and with the next one.
 */
void
aj_catch_up(const AjDueSlots *due, TimestampTz now, AjFiredJob *fired)
{
	TimestampTz first = fired->slot;
	TimestampTz slots[1000];
	int64 passed = 1;
	int most = due->catch_up == AJ_CATCH_UP_ALL ? due->limit : 1;
	int n;

	fired->last_slot = first;
	fired->next_slot = AJ_NO_TIME;
	fired->nrows = 0;
	if (has_sequence(due->schedule) &&
		aj_next_slot(due->schedule, due->zone, first, &fired->next_slot) &&
		fired->next_slot <= now)
	{
		passed += aj_count_slots(due->schedule, due->zone, first, now);
		(void) aj_previous_slot(due->schedule, due->zone, first, now,
								&fired->last_slot);
		if (!aj_next_slot(due->schedule, due->zone, fired->last_slot,
						  &fired->next_slot))
			fired->next_slot = AJ_NO_TIME;
	}
	n = slots_to_run(due, first, fired->last_slot, earliest_to_run(due, now),
					 Min(most, (int) lengthof(slots)), slots);
	/* There is no run from whose end the next one would be counted. */
	if (n == 0 && due->schedule->kind == AJ_SCHEDULE_AFTER &&
		!aj_next_slot(due->schedule, due->zone, now, &fired->next_slot))
		fired->next_slot = AJ_NO_TIME;
	fired->rows = palloc(sizeof(AjFiredSlot) * (Size) (n + 1));
	add_missed(due, fired, passed - n, n > 0 ? slots[0] : AJ_NO_TIME);
	for (int i = 0; i < n; i++)
		add_row(fired, slots[i], AJ_NO_TIME, 1,
				n > 1 ? AJ_FATE_RUN_LATE : AJ_FATE_RUN);
}
