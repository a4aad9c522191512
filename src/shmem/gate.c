/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  The grace period between a writer's commit and a refresh's snapshot.
 *
 * Shared memory holds, per source, the horizon below which writers must log
 * what they write, and, per backend, a counter that is odd while that backend
 * is between the look at the horizon in its pre-commit and the end of its
 * transaction.
 *
 * Writer:    make the counter odd; barrier; read the horizon; log what lies
 *            below it; commit; make the counter even.
 * Refresher: raise the horizon; barrier; wait until every counter that was
 *            odd has moved; only then take a snapshot.
 *
 * So a writer has either seen the raised horizon, and logged, or is visible to
 * the refresh.  Writers never wait, nobody waits for long transactions, and a
 * stream of writers can't starve a refresh: it waits for those only that were
 * in the middle of a commit when it began.  doc/dev/capture.md has the proof.
 *
 * State: the segment.  A backend alone writes its own counter.  The lock of
 * the segment guards which source an entry is for; writers read entries
 * without it, and look twice at whose they are.  What is not in the table has
 * no known horizon, so that all of it is logged: that is right also when the
 * table is full, or when there is no shared memory at all.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/shmem/gate.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/settings.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "shmem/gate.h"
#include "shmem/segment.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"

#define CACHE_LINE 64

typedef struct GateEntry
{
	pg_atomic_uint64 identity; /* database and table; 0: free */
	pg_atomic_uint64 horizon;  /* a TimestampTz */
} GateEntry;

/* On a cache line of its own, or commits of all backends would share one. */
typedef union GateCounter
{
	pg_atomic_uint64 value;
	char line[CACHE_LINE];
} GateCounter;

typedef struct Gate
{
	int nentries;
	int ncounters;
	GateEntry *entries;
	GateCounter *counters;
	pg_atomic_uint32 waiters;
	ConditionVariable moved; /* broadcast by who leaves while some wait */
} Gate;

static Gate *gate = NULL;
static bool inside = false; /* is our counter odd? */
static bool exit_registered = false;

static int
number_of_processes(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

/* Bytes of shared memory that the gate needs. */
Size
aj_gate_size(void)
{
	Size size = MAXALIGN(sizeof(Gate));

	size =
		add_size(size,
				 MAXALIGN(mul_size(sizeof(GateEntry), (Size) aj_max_sources)));
	return add_size(size,
					(Size) CACHE_LINE +
						mul_size(sizeof(GateCounter),
								 (Size) number_of_processes()));
}

/* Called once per process, with the memory; "found": it is in use already. */
void
aj_gate_initialize(void *start, bool found)
{
	char *place = (char *) start;

	gate = (Gate *) start;
	if (found)
		return;
	place += MAXALIGN(sizeof(Gate));
	gate->nentries = aj_max_sources;
	gate->entries = (GateEntry *) place;
	place += MAXALIGN(sizeof(GateEntry) * (Size) aj_max_sources);
	gate->ncounters = number_of_processes();
	gate->counters = (GateCounter *) TYPEALIGN(CACHE_LINE, place);
	for (int i = 0; i < gate->nentries; i++)
	{
		pg_atomic_init_u64(&gate->entries[i].identity, 0);
		pg_atomic_init_u64(&gate->entries[i].horizon, 0);
	}
	for (int i = 0; i < gate->ncounters; i++)
		pg_atomic_init_u64(&gate->counters[i].value, 0);
	pg_atomic_init_u32(&gate->waiters, 0);
	ConditionVariableInit(&gate->moved);
}

static uint64
identity_of(Oid dboid, Oid source)
{
	return ((uint64) dboid << 32) | source;
}

static GateEntry *
find_entry(uint64 identity)
{
	for (int i = 0; i < gate->nentries; i++)
		if (pg_atomic_read_u64(&gate->entries[i].identity) == identity)
			return &gate->entries[i];
	return NULL;
}

/*
 * aj_gate_horizon
 *		The horizon of a source of this database: what is written below it
 *		must be logged.  AJ_GATE_UNKNOWN, above everything, when in doubt.
 */
TimestampTz
aj_gate_horizon(Oid source)
{
	uint64 identity = identity_of(MyDatabaseId, source);
	GateEntry *entry;
	uint64 horizon;

	if (gate == NULL)
		return AJ_GATE_UNKNOWN;
	entry = find_entry(identity);
	if (entry == NULL)
		return AJ_GATE_UNKNOWN;
	pg_read_barrier();
	horizon = pg_atomic_read_u64(&entry->horizon);
	pg_read_barrier();
	if (pg_atomic_read_u64(&entry->identity) != identity)
		return AJ_GATE_UNKNOWN;
	return (TimestampTz) horizon;
}

static void
leave_at_exit(int code, Datum arg)
{
	aj_gate_leave();
}

/*
 * aj_gate_enter
 *		From here on, until aj_gate_leave(), refreshes wait for this backend.
 *		Must be followed by the end of the transaction without delay.
 */
void
aj_gate_enter(void)
{
	if (gate == NULL || inside)
		return;
	if (!exit_registered)
	{
		before_shmem_exit(leave_at_exit, (Datum) 0);
		exit_registered = true;
	}
	inside = true;
	/* Atomic addition is a full barrier. */
	(void) pg_atomic_fetch_add_u64(&gate->counters[AJ_MY_PROC_NUMBER].value, 1);
}

/* The transaction has ended, and is visible, or never will be. */
void
aj_gate_leave(void)
{
	if (!inside)
		return;
	inside = false;
	(void) pg_atomic_fetch_add_u64(&gate->counters[AJ_MY_PROC_NUMBER].value, 1);
	if (pg_atomic_read_u32(&gate->waiters) > 0)
		ConditionVariableBroadcast(&gate->moved);
}

static GateEntry *
claim_entry(uint64 identity, TimestampTz horizon)
{
	GateEntry *entry = find_entry(identity);

	if (entry != NULL)
		return entry;
	entry = find_entry(0);
	if (entry == NULL)
		return NULL;
	pg_atomic_write_u64(&entry->horizon, (uint64) horizon);
	pg_write_barrier();
	pg_atomic_write_u64(&entry->identity, identity);
	return entry;
}

/*
 * aj_gate_publish
 *		Raise the horizon of a source of this database; it never goes back.
 *
 * Does nothing where there is no room or no shared memory: writers then log
 * everything.
 */
void
aj_gate_publish(Oid source, TimestampTz horizon)
{
	GateEntry *entry;

	if (gate == NULL)
		return;
	LWLockAcquire(aj_segment()->lock, LW_EXCLUSIVE);
	entry = claim_entry(identity_of(MyDatabaseId, source), horizon);
	if (entry != NULL &&
		(TimestampTz) pg_atomic_read_u64(&entry->horizon) < horizon)
		pg_atomic_write_u64(&entry->horizon, (uint64) horizon);
	LWLockRelease(aj_segment()->lock);
	pg_memory_barrier();
}

/* A table is no source any more, or all tables of a database: InvalidOid. */
void
aj_gate_forget(Oid dboid, Oid source)
{
	if (gate == NULL)
		return;
	LWLockAcquire(aj_segment()->lock, LW_EXCLUSIVE);
	for (int i = 0; i < gate->nentries; i++)
	{
		uint64 identity = pg_atomic_read_u64(&gate->entries[i].identity);

		if (identity == identity_of(dboid, source) ||
			(source == InvalidOid && identity >> 32 == dboid))
			pg_atomic_write_u64(&gate->entries[i].identity, 0);
	}
	LWLockRelease(aj_segment()->lock);
}

static void
stop_waiting(int code, Datum arg)
{
	(void) pg_atomic_fetch_sub_u32(&gate->waiters, 1);
}

static void
wait_for_counter(pg_atomic_uint64 *counter)
{
	uint64 seen = pg_atomic_read_u64(counter);

	if (seen % 2 == 0)
		return;
	ConditionVariablePrepareToSleep(&gate->moved);
	while (pg_atomic_read_u64(counter) == seen)
		ConditionVariableSleep(&gate->moved, aj_wait_event("AggjobsGate"));
	(void) ConditionVariableCancelSleep();
}

/*
 * aj_gate_wait
 *		Wait until every backend that was in the middle of its commit has
 *		ended it.  What they wrote is then visible to new snapshots, and those
 *		who come later see the horizon that was published before.
 *
 * Can be cancelled.
 */
void
aj_gate_wait(void)
{
	if (gate == NULL)
		return;
#ifdef AGGJOBS_TESTING
	if (!aj_gate_enabled)
		return;
#endif
	(void) pg_atomic_fetch_add_u32(&gate->waiters, 1);
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	{
		for (int i = 0; i < gate->ncounters; i++)
			if (i != AJ_MY_PROC_NUMBER)
				wait_for_counter(&gate->counters[i].value);
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	stop_waiting(0, (Datum) 0);
}
