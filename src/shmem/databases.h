/*
 * databases.h
 *	  The databases we know, their schedulers, and who waits for them to go.
 */
#ifndef AJ_SHMEM_DATABASES_H
#define AJ_SHMEM_DATABASES_H

#include "base/compat.h"
#include "shmem/segment.h"

/* A scheduler that has been asked for is there after so long, or never. */
#define AJ_START_TAKES_MS 10000

/* launcher */
extern void aj_launcher_attach(void);
extern bool aj_launcher_take_rescan(void);
extern void aj_launcher_poke(bool rescan);
extern bool aj_databases_note(Oid dboid);
extern void aj_databases_forget_missing(const Oid *present, int npresent);
extern bool aj_databases_next_start(TimestampTz now, int *index, Oid *dboid,
									TimestampTz *wait_until);
extern void aj_databases_start_failed(int index, TimestampTz retry_at);
extern bool aj_databases_is_starting(int index, TimestampTz since);

/* scheduler */
extern bool aj_databases_attach_scheduler(int index, Oid *dboid);
extern void aj_databases_detach_scheduler(int index, AjDatabaseState next);
extern bool aj_databases_held(int index);
extern uint32 aj_databases_take_wake(int index, int64 *jobs, int *njobs);

/* anybody */
extern void aj_databases_post(Oid dboid, uint32 wake, int64 job_id);
extern void aj_databases_set_extension(Oid dboid, bool present);
extern bool aj_databases_has_scheduler(Oid dboid);
extern bool aj_databases_scheduler_seems_alive(Oid dboid);
extern void aj_databases_hold(Oid dboid);
extern void aj_databases_release(Oid dboid);
extern bool aj_databases_is_empty(Oid dboid);

#endif /* AJ_SHMEM_DATABASES_H */
