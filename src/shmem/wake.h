/*
 * wake.h
 *	  Wake-ups that go out when the transaction commits.
 */
#ifndef AJ_SHMEM_WAKE_H
#define AJ_SHMEM_WAKE_H

#include "base/compat.h"

extern void aj_wake_register(void);
extern void aj_wake_job(int64 job_id);
extern void aj_wake_job_ran(int64 job_id);
extern void aj_wake_runs(void);
extern void aj_wake_extension(bool present);
extern void aj_wake_hold(Oid dboid);
extern void aj_wake_rescan(void);

#endif /* AJ_SHMEM_WAKE_H */
