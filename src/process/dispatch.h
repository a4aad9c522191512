/*
 * dispatch.h
 *	  Gives queued runs to workers.
 */
#ifndef AJ_PROCESS_DISPATCH_H
#define AJ_PROCESS_DISPATCH_H

#include "base/compat.h"
#include "shmem/slots.h"

extern void aj_dispatch_init(MemoryContext context);
extern void aj_dispatch_requeue(void);
extern void aj_dispatch_job_ended(void);
extern bool aj_dispatch_is_active(int64 job_id);
extern bool aj_dispatch(const AjSlotView *slots, int nslots);
extern bool aj_dispatch_start_failed(int slot_index);

#endif /* AJ_PROCESS_DISPATCH_H */
