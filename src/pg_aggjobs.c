/*-------------------------------------------------------------------------
 *
 * pg_aggjobs.c
 *	  What happens when the library is loaded, in order.
 *
 * Loaded by the postmaster (shared_preload_libraries) it has shared memory, a
 * launcher and hooks.  Loaded later, by the first call of one of its
 * functions, it can capture changes and run jobs in the session, no more.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/pg_aggjobs.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/settings.h"
#include "miscadmin.h"
#include "process/process.h"
#include "rollup/capture.h"
#include "shmem/segment.h"
#include "shmem/wake.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	aj_settings_define();
	aj_capture_register();
	aj_wake_register();

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	aj_segment_install_hooks();
	aj_ddl_hook_install();
	aj_owner_hook_install();
	aj_launcher_register();
}
