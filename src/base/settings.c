/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  The settings of the extension (aggjobs.*), in alphabetical order.
 *
 * Each has a line in doc/reference.md.  All but max_databases, which sizes
 * shared memory, follow a reload of the configuration.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/settings.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/settings.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/guc.h"

bool aj_enabled = true;
bool aj_allow_superuser_jobs = true;
int aj_backfill_chunk_size = 128 * 1024;
int aj_backfill_chunk_time = 20000;
int aj_backfill_keep = 24 * 60;
int aj_backfill_max_lock_waits = 20;
int aj_backfill_max_wal = 0;
int aj_cancel_grace = 10000;
int aj_default_timeout = 0;
int aj_disk_reserve = 1024;
int aj_keep_age = 90 * 24 * 60;
int aj_keep_failures = 500;
int aj_keep_successes = 100;
int aj_log_lines = 1000;
int aj_max_backfill_workers = 2;
int aj_max_databases = 1000;
int aj_max_sources = 1024;
int aj_max_workers = 8;
int aj_rescan_interval = 600;
int aj_shutdown_wait = 10000;
int aj_worker_idle = 5000;
int aj_worker_max_memory = 64 * 1024;
int aj_worker_max_runs = 1000;

#ifdef AGGJOBS_TESTING
bool aj_gate_enabled = true;
int aj_test_cell_width = 60000;
int aj_test_commit_delay = 0;
int aj_test_commit_lock = 0;
int aj_test_rollup_wait = 600000;
#endif

typedef struct BoolSetting
{
	const char *name;
	const char *what;
	bool *variable;
	GucContext context;
} BoolSetting;

typedef struct IntSetting
{
	const char *name;
	const char *what;
	int *variable;
	int least;
	int most;
	GucContext context;
	int unit;
} IntSetting;

static const BoolSetting bool_settings[] = {
#ifdef AGGJOBS_TESTING
	{"aggjobs.gate", "Lets refreshes wait for writers that are committing.",
	 &aj_gate_enabled, PGC_SUSET},
#endif
	{"aggjobs.allow_superuser_jobs",
	 "Allows jobs that are owned by superusers to run.",
	 &aj_allow_superuser_jobs, PGC_SIGHUP},
	/* Not only by reload, so that ALTER DATABASE can set it for a restore. */
	{"aggjobs.enabled", "Lets the scheduler start runs.", &aj_enabled,
	 PGC_SUSET},
};

static const IntSetting int_settings[] = {
#ifdef AGGJOBS_TESTING
	{"aggjobs.test_cell_width",
	 "Width of the pieces of time in which writes are noted.",
	 &aj_test_cell_width, 1, 3600000, PGC_SUSET, GUC_UNIT_MS},
	{"aggjobs.test_commit_delay",
	 "Time that a writer waits between its look at the horizon and its commit.",
	 &aj_test_commit_delay, 0, 10000, PGC_USERSET, GUC_UNIT_MS},
	{"aggjobs.test_commit_lock",
	 "Advisory lock that a writer waits for between its look at the horizon and its commit; 0 means none.",
	 &aj_test_commit_lock, 0, INT_MAX, PGC_USERSET, 0},
	{"aggjobs.test_rollup_wait",
	 "Time that a refresh waits for another one of the same rollup.",
	 &aj_test_rollup_wait, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS},
#endif
	{"aggjobs.backfill_chunk_size",
	 "Size of the raw rows that a chunk of a backfill reads, before anything is known of its pace.",
	 &aj_backfill_chunk_size, 64, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB},
	{"aggjobs.backfill_chunk_time",
	 "Time that a chunk of a backfill should take, once its pace is known; 0 means any.",
	 &aj_backfill_chunk_time, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"aggjobs.backfill_keep",
	 "Age at which backfills that are over are removed.", &aj_backfill_keep, 1,
	 INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN},
	{"aggjobs.backfill_max_lock_waits",
	 "Backfills begin no chunk while more sessions of the database wait for locks; 0 means no limit.",
	 &aj_backfill_max_lock_waits, 0, INT_MAX, PGC_SIGHUP, 0},
	{"aggjobs.backfill_max_wal",
	 "Backfills begin no chunk while the server writes more write-ahead log per second; 0 means no limit.",
	 &aj_backfill_max_wal, 0, 1000000, PGC_SIGHUP, GUC_UNIT_MB},
	{"aggjobs.cancel_grace",
	 "Time between asking a run to stop and ending its worker.",
	 &aj_cancel_grace, 100, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"aggjobs.default_timeout",
	 "Time limit of runs whose job sets none; 0 means no limit.",
	 &aj_default_timeout, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"aggjobs.disk_reserve",
	 "Disk space that must stay free after what a backfill is estimated to write.",
	 &aj_disk_reserve, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB},
	{"aggjobs.keep_age",
	 "Age at which finished runs are removed from the history.", &aj_keep_age,
	 1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MIN},
	{"aggjobs.keep_failures",
	 "Number of unsuccessful runs that are kept for each job.",
	 &aj_keep_failures, 0, 1000000, PGC_SIGHUP, 0},
	{"aggjobs.keep_successes",
	 "Number of successful runs that are kept for each job.",
	 &aj_keep_successes, 0, 1000000, PGC_SIGHUP, 0},
	{"aggjobs.log_lines", "Number of log lines that are kept for one run.",
	 &aj_log_lines, 0, 100000, PGC_SIGHUP, 0},
	{"aggjobs.max_backfill_workers",
	 "Number of workers of backfills of one database that may be at work at once.",
	 &aj_max_backfill_workers, 1, 64, PGC_SIGHUP, 0},
	{"aggjobs.max_databases", "Number of databases in which jobs can run.",
	 &aj_max_databases, 1, 10000, PGC_POSTMASTER, 0},
	{"aggjobs.max_sources",
	 "Number of tables, over all databases, whose horizon writers can look up.",
	 &aj_max_sources, 16, 1000000, PGC_POSTMASTER, 0},
	{"aggjobs.max_workers",
	 "Number of runs of one database that may go on at once.", &aj_max_workers,
	 1, 1024, PGC_SIGHUP, 0},
	{"aggjobs.rescan_interval", "Time between looks at the list of databases.",
	 &aj_rescan_interval, 1, INT_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S},
	{"aggjobs.shutdown_wait",
	 "Time that runs may go on while the server is shut down.",
	 &aj_shutdown_wait, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"aggjobs.worker_idle",
	 "Time that a worker without work waits for more before it ends.",
	 &aj_worker_idle, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"aggjobs.worker_max_memory",
	 "Memory in use between two runs at which a worker ends.",
	 &aj_worker_max_memory, 1024, MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB},
	{"aggjobs.worker_max_runs", "Number of runs after which a worker ends.",
	 &aj_worker_max_runs, 1, INT_MAX, PGC_SIGHUP, 0},
};

/*
 * aj_settings_define
 *		Make the settings known to the server; called once per process, when
 *		the library is loaded.
 *
 * A library that comes too late to have shared memory leaves out the settings
 * that only the postmaster can take.
 */
void
aj_settings_define(void)
{
	for (size_t i = 0; i < lengthof(bool_settings); i++)
	{
		const BoolSetting *s = &bool_settings[i];

		DefineCustomBoolVariable(s->name, s->what, NULL, s->variable,
								 *s->variable, s->context, 0, NULL, NULL, NULL);
	}

	for (size_t i = 0; i < lengthof(int_settings); i++)
	{
		const IntSetting *s = &int_settings[i];

		if (s->context == PGC_POSTMASTER &&
			!process_shared_preload_libraries_in_progress)
			continue;
		DefineCustomIntVariable(s->name, s->what, NULL, s->variable,
								*s->variable, s->least, s->most, s->context,
								s->unit, NULL, NULL, NULL);
	}

	MarkGUCPrefixReserved("aggjobs");
}

/* Take over the configuration if it is to be read again; false if not. */
bool
aj_settings_reload(void)
{
	if (!ConfigReloadPending)
		return false;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	return true;
}
