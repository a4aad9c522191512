/*
 * schedule.h
 *	  The one language in which users say when a job runs.
 *
 * The language is explained in doc/schedules.md, daylight saving time in
 * doc/dev/dst.md.
 */
#ifndef AJ_TIME_SCHEDULE_H
#define AJ_TIME_SCHEDULE_H

#include "base/compat.h"

#include "datatype/timestamp.h"
#include "pgtime.h"
#include "time/cron.h"
#include "time/scan.h"

typedef enum AjScheduleKind
{
	AJ_SCHEDULE_CRON,  /* cron fields and words such as @daily */
	AJ_SCHEDULE_EVERY, /* a fixed grid */
	AJ_SCHEDULE_AFTER, /* a pause from the end of the last run */
	AJ_SCHEDULE_AT,	   /* once */
	AJ_SCHEDULE_START  /* when the scheduler starts: never by time */
} AjScheduleKind;

/*
 * A length of time.  Just one field is not 0: elapsed time, days of the
 * calendar, or months of the calendar.
 */
typedef struct AjStep
{
	int64 seconds;
	int days;
	int months;
} AjStep;

/*
 * A schedule that was read.  Plain data without pointers, to be copied with
 * memcpy.  A local time is the number of seconds from 1970-01-01 00:00 to
 * what the clock on the wall shows in the job's zone.
 */
typedef struct AjSchedule
{
	AjScheduleKind kind;
	AjCron cron;	 /* CRON */
	AjStep step;	 /* EVERY, AFTER */
	bool has_origin; /* EVERY: begins at "local", else no beginning */
	int64 local;	 /* EVERY: origin, AT: the time; local time */
} AjSchedule;

extern bool aj_schedule_parse(const char *text, AjSchedule *schedule,
							  AjScheduleError *error);
extern void aj_schedule_check(const char *text, AjSchedule *schedule);
extern bool aj_next_slot(const AjSchedule *schedule, pg_tz *zone,
						 TimestampTz after, TimestampTz *next);
extern pg_tz *aj_zone_lookup(const char *name);
extern char *aj_schedule_explain(const AjSchedule *schedule);

#endif /* AJ_TIME_SCHEDULE_H */
