/*
 * settings.h
 *	  The settings of the extension (aggjobs.*).
 */
#ifndef AJ_BASE_SETTINGS_H
#define AJ_BASE_SETTINGS_H

#include "base/compat.h"

extern bool aj_enabled;
extern bool aj_allow_superuser_jobs;
extern int aj_backfill_chunk_size;
extern int aj_backfill_chunk_time;
extern int aj_backfill_keep;
extern int aj_backfill_max_lock_waits;
extern int aj_backfill_max_wal;
extern int aj_cancel_grace;
extern int aj_default_timeout;
extern int aj_disk_reserve;
extern int aj_keep_age;
extern int aj_keep_failures;
extern int aj_keep_successes;
extern int aj_log_lines;
extern int aj_max_backfill_workers;
extern int aj_max_databases;
extern int aj_max_sources;
extern int aj_max_workers;
extern int aj_rescan_interval;
extern int aj_shutdown_wait;
extern int aj_worker_idle;
extern int aj_worker_max_memory;
extern int aj_worker_max_runs;

#ifdef AGGJOBS_TESTING
extern bool aj_gate_enabled;
extern int aj_test_cell_width;
extern int aj_test_commit_delay;
extern int aj_test_commit_lock;
extern int aj_test_rollup_wait;
#endif

extern void aj_settings_define(void);
extern bool aj_settings_reload(void);

#endif /* AJ_BASE_SETTINGS_H */
