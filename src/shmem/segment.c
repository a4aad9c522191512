/*-------------------------------------------------------------------------
 *
 * segment.c
 *	  Shared memory: its size, its making, and the one lock.
 *
 * Layout: AjShared, then an array of databases, then an array of worker
 * slots, one for each process that max_worker_processes allows.  The arrays
 * are reached through pointers that the postmaster sets; shared memory is at
 * the same address in every process, and nothing in it points out of it.
 *
 * One LWLock guards both arrays.  It is held for a few assignments at a time,
 * never over SQL, a wait or an allocation.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/shmem/segment.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/settings.h"
#include "base/testing.h"
#include "miscadmin.h"
#include "postmaster/bgworker_internals.h"
#include "shmem/gate.h"
#include "shmem/segment.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"

#define TRANCHE "pg_aggjobs"

static AjShared *shared = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static Size
segment_size(void)
{
	Size size = MAXALIGN(sizeof(AjShared));

	size = add_size(
		size, MAXALIGN(mul_size(sizeof(AjDatabase), (Size) aj_max_databases)));
	return add_size(size,
					mul_size(sizeof(AjSlot), (Size) max_worker_processes));
}

static void
request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(add_size(segment_size(), aj_gate_size()));
	RequestNamedLWLockTranche(TRANCHE, 1);
#ifdef AGGJOBS_TESTING
	RequestAddinShmemSpace(MAXALIGN(sizeof(AjTesting)));
#endif
}

static void
initialize_slot(AjSlot *slot)
{
	slot->state = AJ_SLOT_FREE;
	slot->procno = AJ_NO_PROC;
	pg_atomic_init_u64(&slot->log.head, 0);
	pg_atomic_init_u64(&slot->log.tail, 0);
	aj_progress_init(&slot->progress);
}

static void
initialize(void)
{
	char *start = (char *) shared;

	memset(shared, 0, segment_size());
	shared->lock = &GetNamedLWLockTranche(TRANCHE)->lock;
	shared->ndatabases = aj_max_databases;
	shared->nslots = max_worker_processes;
	shared->databases = (AjDatabase *) (start + MAXALIGN(sizeof(AjShared)));
	shared->slots =
		(AjSlot *) (start + MAXALIGN(sizeof(AjShared)) +
					MAXALIGN(sizeof(AjDatabase) * (Size) aj_max_databases));
	shared->launcher_procno = AJ_NO_PROC;
	ConditionVariableInit(&shared->run_ended);
	for (int i = 0; i < shared->ndatabases; i++)
		shared->databases[i].procno = AJ_NO_PROC;
	for (int i = 0; i < shared->nslots; i++)
		initialize_slot(&shared->slots[i]);
}

static void
startup(void)
{
	bool found;
	bool gate_found;
	void *gate_start;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("pg_aggjobs", segment_size(), &found);
	if (!found)
		initialize();
	gate_start =
		ShmemInitStruct("pg_aggjobs gate", aj_gate_size(), &gate_found);
	aj_gate_initialize(gate_start, gate_found);
#ifdef AGGJOBS_TESTING
	gate_start =
		ShmemInitStruct("pg_aggjobs testing", sizeof(AjTesting), &gate_found);
	aj_testing_init(gate_start, gate_found);
#endif
	LWLockRelease(AddinShmemInitLock);
}

/*
 * aj_segment_install_hooks
 *		Ask for shared memory; only while the postmaster loads the library.
 */
void
aj_segment_install_hooks(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

/* The shared memory; only where aj_segment_present(). */
AjShared *
aj_segment(void)
{
	Assert(shared != NULL);
	return shared;
}

/* Was the library preloaded, so that there are workers at all? */
bool
aj_segment_present(void)
{
	return shared != NULL;
}

/*
 * aj_segment_require
 *		Error 55000 with the remedy if the library was not preloaded; "what"
 *		is the thing that needs workers, as the start of a sentence.
 */
void
aj_segment_require(const char *what)
{
	if (shared != NULL)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("%s needs background workers, and pg_aggjobs is not preloaded",
				what),
		 errhint(
			 "Add pg_aggjobs to shared_preload_libraries in postgresql.conf and restart the server, or run the job in this session with CALL aggjobs_run(name).")));
}

/*
 * aj_segment_set_latch
 *		Wake the process with this number; harmless if it has gone.
 */
void
aj_segment_set_latch(int procno)
{
	if (procno != AJ_NO_PROC)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

#ifdef AGGJOBS_TESTING
/* Wake all our processes: the clock has been moved. */
void
aj_segment_wake_all(void)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	aj_segment_set_latch(shared->launcher_procno);
	for (int i = 0; i < shared->ndatabases; i++)
		aj_segment_set_latch(shared->databases[i].procno);
	for (int i = 0; i < shared->nslots; i++)
		aj_segment_set_latch(shared->slots[i].procno);
	LWLockRelease(shared->lock);
	ConditionVariableBroadcast(&shared->run_ended);
}
#endif
