/*
 * process.h
 *	  Our background processes: what they have in common.
 */
#ifndef AJ_PROCESS_PROCESS_H
#define AJ_PROCESS_PROCESS_H

#include <signal.h>

#include "base/compat.h"
#include "datatype/timestamp.h"
#include "postmaster/bgworker.h"

/* The server has asked this process to end, as it is being shut down. */
extern volatile sig_atomic_t aj_shutdown_noted;

extern void aj_process_signals(bool (*goes_on)(void));
extern bool aj_process_wait(long milliseconds, const char *what);
extern bool aj_process_start(const char *name, const char *type,
							 const char *function, int32 argument,
							 BackgroundWorkerHandle **handle);

extern void aj_launcher_register(void);
extern void aj_ddl_hook_install(void);
extern void aj_owner_hook_install(void);

extern PGDLLEXPORT void aj_launcher_main(Datum argument);
extern PGDLLEXPORT void aj_scheduler_main(Datum argument);
extern PGDLLEXPORT void aj_worker_main(Datum argument);

#endif /* AJ_PROCESS_PROCESS_H */
