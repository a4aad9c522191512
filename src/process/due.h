/*
 * due.h
 *	  The scheduler's jobs, by due time.
 */
#ifndef AJ_PROCESS_DUE_H
#define AJ_PROCESS_DUE_H

#include "base/compat.h"
#include "datatype/timestamp.h"

extern void aj_due_reset(MemoryContext context);
extern void aj_due_load(const int64 *job_ids, int njobs);
extern TimestampTz aj_due_next(void);
extern bool aj_due_fire(TimestampTz now);
extern void aj_due_job_ended(int64 job_id, TimestampTz ended_at);

#endif /* AJ_PROCESS_DUE_H */
