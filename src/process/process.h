/*
 * process.h
 *	  Our background processes: what they have in common.
 */
#ifndef AJ_PROCESS_PROCESS_H
#define AJ_PROCESS_PROCESS_H

#include "base/compat.h"
#include "datatype/timestamp.h"
#include "postmaster/bgworker.h"

extern void aj_process_signals(void);
extern void aj_process_reload(void);
extern void aj_process_wait(long milliseconds, const char *what);
extern bool aj_process_start(const char *name, const char *type,
							 const char *function, int32 argument,
							 BackgroundWorkerHandle **handle);

extern void aj_launcher_register(void);
extern void aj_ddl_hook_install(void);

extern PGDLLEXPORT void aj_launcher_main(Datum argument);
extern PGDLLEXPORT void aj_scheduler_main(Datum argument);
extern PGDLLEXPORT void aj_worker_main(Datum argument);

#endif /* AJ_PROCESS_PROCESS_H */
