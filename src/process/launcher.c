/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Keeps one scheduler in each database that has the extension.
 *
 * There is one launcher for the server.  It belongs to no database and reads
 * shared catalogs only, so it can't know who has the extension: it starts a
 * scheduler in each database once, and a scheduler that finds no extension
 * says so in shared memory and ends.  Later CREATE and DROP EXTENSION speak
 * up at commit.  The list of databases is read again when DDL says so, and
 * every aggjobs.rescan_interval for whatever was missed.
 *
 * State: private and can be lost; all that matters is in shmem/databases.c.
 * After its death the postmaster starts another within a second, which finds
 * the schedulers at work and lets them be.
 *
 * Failure: a lack of process slots is logged once per episode and tried again
 * after a pause; an error ends the process, to be started again.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/launcher.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "base/clock.h"
#include "base/settings.h"
#include "base/testing.h"
#include "base/tx.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "process/process.h"
#include "shmem/databases.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define RETRY_START_MS 5000
#define INVALID_DATABASE (-2) /* datconnlimit after an interrupted DROP */

static bool short_of_processes = false;
static bool short_of_entries = false;

/* The oids of the databases that accept connections and are no templates. */
static Oid *
connectable_databases(int *n)
{
	Oid *oids = palloc(sizeof(Oid) * 64);
	int size = 64;
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;

	*n = 0;
	aj_tx_begin("look for databases");
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (!database->datallowconn || database->datistemplate ||
			database->datconnlimit == INVALID_DATABASE)
			continue;
		if (*n == size)
		{
			size *= 2;
			oids = repalloc(oids, sizeof(Oid) * (Size) size);
		}
		oids[(*n)++] = database->oid;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	aj_tx_commit();
	return oids;
}

static void
scan_databases(void)
{
	int n;
	Oid *oids = connectable_databases(&n);
	bool all_noted = true;

	aj_databases_forget_missing(oids, n);
	for (int i = 0; i < n; i++)
		all_noted &= aj_databases_note(oids[i]);
	if (!all_noted && !short_of_entries)
		ereport(
			LOG,
			(errmsg("pg_aggjobs can't look after all of %d databases", n),
			 errhint(
				 "Raise aggjobs.max_databases, now %d, and restart the server.",
				 aj_max_databases)));
	short_of_entries = !all_noted;
	pfree(oids);
}

static void
start_failed(int index)
{
	if (!short_of_processes)
		ereport(
			LOG,
			(errmsg(
				 "could not start a scheduler: no background worker slot is free"),
			 errhint("Raise max_worker_processes and restart the server.")));
	short_of_processes = true;
	aj_databases_start_failed(index, 0);
}

/*
 * Start the schedulers that are due; lowers *wake_at to the next one's time.
 * Without a free process there is no use in going on: the postmaster wakes us
 * when one of those that we have started ends.
 */
static void
start_schedulers(TimestampTz *wake_at)
{
	int index;
	Oid dboid;

	while (aj_databases_next_start(aj_now(), &index, &dboid, wake_at))
	{
		char name[BGW_MAXLEN];

		snprintf(name, sizeof(name), "pg_aggjobs scheduler for database %u",
				 dboid);
		if (!aj_process_start(name, "pg_aggjobs scheduler", "aj_scheduler_main",
							  index, NULL))
		{
			start_failed(index);
			*wake_at =
				Min(*wake_at,
					TimestampTzPlusMilliseconds(aj_now(), RETRY_START_MS));
			return;
		}
		short_of_processes = false;
		AJ_FAULT_POINT("at", "scheduler asked for");
	}
}

/* A process that was asked for by then and never came is asked for again. */
static void
give_up_on_lost_starts(TimestampTz now, TimestampTz since)
{
	for (int i = 0; i < aj_segment()->ndatabases; i++)
		if (aj_databases_is_starting(i, since))
			aj_databases_start_failed(i, now);
}

/*
 * aj_launcher_main
 *		Entry point of the launcher.
 */
void
aj_launcher_main(Datum argument)
{
	TimestampTz next_scan = 0;
	TimestampTz last_seen = 0;

	aj_process_signals(NULL);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	aj_launcher_attach();
	MemoryContextSwitchTo(AllocSetContextCreate(
		TopMemoryContext, "pg_aggjobs launcher", ALLOCSET_SMALL_SIZES));
	pgstat_report_appname("pg_aggjobs launcher");
	ereport(LOG, (errmsg("pg_aggjobs launcher started")));

	for (;;)
	{
		TimestampTz now = aj_now();
		TimestampTz since =
			TimestampTzPlusMilliseconds(now, -AJ_START_TAKES_MS);
		TimestampTz wake_at;
		bool went_back = aj_clock_went_back(&last_seen);

		CHECK_FOR_INTERRUPTS();
		(void) aj_settings_reload();
		if (aj_launcher_take_rescan() || now >= next_scan || went_back)
		{
			scan_databases();
			next_scan =
				TimestampTzPlusMilliseconds(now,
											(int64) aj_rescan_interval * 1000);
		}
		/* by a clock that was set back, nothing was long ago */
		give_up_on_lost_starts(now, went_back ? DT_NOEND : since);
		wake_at = next_scan;
		start_schedulers(&wake_at);
		(void) aj_process_wait(aj_milliseconds_until(wake_at),
							   "AggjobsLauncher");
	}
}

/* Make the postmaster start the launcher, and start it again if it ends. */
void
aj_launcher_register(void)
{
	BackgroundWorker worker = {0};

	strlcpy(worker.bgw_name, "pg_aggjobs launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "pg_aggjobs launcher", sizeof(worker.bgw_type));
	strlcpy(worker.bgw_library_name, "pg_aggjobs",
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "aj_launcher_main",
			sizeof(worker.bgw_function_name));
	worker.bgw_flags =
		BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}
