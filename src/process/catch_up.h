/*
 * catch_up.h
 *	  What becomes of the slots of a job that have come.
 */
#ifndef AJ_PROCESS_CATCH_UP_H
#define AJ_PROCESS_CATCH_UP_H

#include "base/compat.h"
#include "catalog/fire.h"
#include "catalog/job.h"
#include "time/schedule.h"

/* What there is to know of a job whose planned slot has come. */
typedef struct AjDueSlots
{
	const AjSchedule *schedule;
	pg_tz *zone;
	AjCatchUp catch_up;
	int limit;
	Interval *deadline; /* or NULL */
} AjDueSlots;

extern void aj_catch_up(const AjDueSlots *due, TimestampTz now,
						AjFiredJob *fired);

#endif /* AJ_PROCESS_CATCH_UP_H */
