/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  Wake-ups that go out when the transaction commits.
 *
 * Functions that change jobs or queue runs say so here; the scheduler hears
 * of it at commit and never before, and not at all after a rollback.  A part
 * that was rolled back to a savepoint may still wake the scheduler, which
 * then finds nothing new.
 *
 * Holds are the other way about: they are taken at once and given back at
 * the end of the transaction, however it ends.
 *
 * State: private to the backend, empty between transactions.  No lock is
 * held but inside the calls to databases.c.  Allocates only in the
 * transaction's own context, so the callbacks can't fail.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/shmem/wake.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "shmem/databases.h"
#include "shmem/slots.h"
#include "shmem/wake.h"

#define MAX_PENDING 32
#define MAX_HOLDS 8

typedef struct Pending
{
	uint32 wake; /* AJ_WAKE_* */
	int njobs;
	int64 jobs[MAX_PENDING];
	bool extension_changed;
	bool extension_present;
	bool rescan;
	int nholds;
	Oid holds[MAX_HOLDS];
} Pending;

static Pending pending;

/* A job was made or changed. */
void
aj_wake_job(int64 job_id)
{
	pending.wake |= AJ_WAKE_JOBS;
	if (pending.njobs == MAX_PENDING)
		pending.wake |= AJ_WAKE_ALL_JOBS;
	else
		pending.jobs[pending.njobs++] = job_id;
}

/* A job was run in this session. */
void
aj_wake_job_ran(int64 job_id)
{
	aj_wake_job(job_id);
	pending.wake |= AJ_WAKE_SESSION_RUN;
}

/* A run was queued. */
void
aj_wake_runs(void)
{
	pending.wake |= AJ_WAKE_RUNS;
}

/* The extension was created or dropped in this database. */
void
aj_wake_extension(bool present)
{
	pending.extension_changed = true;
	pending.extension_present = present;
}

/* The list of databases was changed. */
void
aj_wake_rescan(void)
{
	pending.rescan = true;
}

/*
 * aj_wake_hold
 *		Keep our processes out of a database until this transaction ends.
 */
void
aj_wake_hold(Oid dboid)
{
	if (pending.nholds == MAX_HOLDS)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg(
				 "too many databases are kept free of jobs in one transaction")));
	aj_databases_hold(dboid);
	pending.holds[pending.nholds++] = dboid;
}

static void
send_wake_ups(void)
{
	if (pending.extension_changed)
		aj_databases_set_extension(MyDatabaseId, pending.extension_present);
	/* It may have gone with its schema, and no one has asked them before. */
	if (pending.extension_changed && !pending.extension_present)
		aj_slots_stop_database(MyDatabaseId, AJ_STOP_LEAVE,
							   "the extension was dropped", true);
	if (pending.wake != 0 && pending.njobs == 0)
		aj_databases_post(MyDatabaseId, pending.wake, 0);
	for (int i = 0; i < pending.njobs; i++)
		aj_databases_post(MyDatabaseId, pending.wake, pending.jobs[i]);
	if (pending.rescan)
		aj_launcher_poke(true);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	/* What was done may have been undone by a rollback to a savepoint. */
	if (event == XACT_EVENT_PRE_COMMIT && pending.extension_changed)
		pending.extension_present =
			get_extension_oid("pg_aggjobs", true) != InvalidOid;
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	if (aj_segment_present())
	{
		if (event == XACT_EVENT_COMMIT)
			send_wake_ups();
		for (int i = 0; i < pending.nholds; i++)
			aj_databases_release(pending.holds[i]);
	}
	memset(&pending, 0, sizeof(pending));
}

/* Called once per process, when the library is loaded. */
void
aj_wake_register(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}
