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
extern TimestampTz aj_dispatch(const AjSlotView *slots, int nslots,
							   TimestampTz now);
extern bool aj_dispatch_start_failed(int slot_index);

#endif /* AJ_PROCESS_DISPATCH_H */
