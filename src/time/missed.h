/*
 * missed.h
 *	  How many slots there are in a stretch of time, and which is the last.
 */
#ifndef AJ_TIME_MISSED_H
#define AJ_TIME_MISSED_H

#include "base/compat.h"
#include "time/schedule.h"

extern bool aj_previous_slot(const AjSchedule *schedule, pg_tz *zone,
							 TimestampTz after, TimestampTz upto,
							 TimestampTz *slot);
extern int64 aj_count_slots(const AjSchedule *schedule, pg_tz *zone,
							TimestampTz after, TimestampTz upto);

#endif /* AJ_TIME_MISSED_H */
