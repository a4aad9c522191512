/*
 * cron.h
 *	  Cron fields as sets of bits, and the local times they match.
 */
#ifndef AJ_TIME_CRON_H
#define AJ_TIME_CRON_H

#include "time/scan.h"

typedef struct AjCron
{
	uint64 seconds;		 /* bits 0 to 59 */
	uint64 minutes;		 /* bits 0 to 59 */
	uint32 hours;		 /* bits 0 to 23 */
	uint32 days;		 /* bits 1 to 31 */
	uint16 months;		 /* bits 1 to 12 */
	uint8 weekdays;		 /* bits 0 (Sunday) to 6 */
	uint8 last_weekdays; /* the last such day of the month */
	bool last_day;		 /* the last day of the month */
	bool any_day;		 /* the day-of-month field begins with a star */
	bool any_weekday;	 /* the day-of-week field begins with a star */
	bool elapsed;		 /* the hour field spans the day: no fixed times */
	bool with_seconds;	 /* six fields were given */
} AjCron;

extern bool aj_cron_parse(AjScan *scan, AjCron *cron);
extern bool aj_cron_next(const AjCron *cron, int64 from, int64 *local);
extern int aj_next_bit(uint64 set, int from);

#endif /* AJ_TIME_CRON_H */
