/*
 * reap.h
 *	  Looks after the workers: their ends, their limits, their log lines.
 */
#ifndef AJ_PROCESS_REAP_H
#define AJ_PROCESS_REAP_H

#include "base/compat.h"
#include "shmem/slots.h"

/* Log lines are stored a few times a second at most, many in one go. */
#define AJ_STORE_LOGS_EVERY_MS 200

extern void aj_reap_init(MemoryContext context);
extern int aj_reap_store_logs(const AjSlotView *slots, int nslots);
extern bool aj_reap_ends(const AjSlotView *slots, int nslots);
extern TimestampTz aj_reap_limits(const AjSlotView *slots, int nslots,
								  TimestampTz now);
extern void aj_reap_count_run(int64 job_id);
extern bool aj_reap_prune(TimestampTz now);

#endif /* AJ_PROCESS_REAP_H */
