/*-------------------------------------------------------------------------
 *
 * dispatch.c
 *	  Gives queued runs to workers.
 *
 * The oldest run goes first.  A run is passed over, and keeps its place,
 * while another run of its job is at work.  It goes to an idle worker of its
 * owner, or to a new worker while there are fewer than aggjobs.max_workers;
 * an idle worker of another owner is asked to make room.
 *
 * The table is the truth and the list here a copy of its oldest queued rows,
 * one for each job, so that the many runs of one job can't hide those of
 * others.
 *
 * State: private to the scheduler.  Failure: when the server has no process
 * slot left, runs stay queued; that is logged once per episode and tried
 * again every second and whenever a worker ends.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/dispatch.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/settings.h"
#include "base/tx.h"
#include "catalog/run.h"
#include "miscadmin.h"
#include "process/dispatch.h"
#include "process/process.h"
#include "utils/memutils.h"

#define MAX_QUEUE 1000

static MemoryContext dispatch_context = NULL;
static MemoryContext queue_context = NULL;
static AjQueuedRun *queue = NULL;
static int nqueue = 0;
static bool queue_is_cut = false; /* the table may hold more */
static bool more_behind = false;  /* runs that wait for one of their own job */
static bool must_read = true;
static bool short_of_processes = false;
static BackgroundWorkerHandle **handles = NULL; /* of workers that start */

/* Begin anew; the list lives in a child of "context". */
void
aj_dispatch_init(MemoryContext context)
{
	dispatch_context = context;
	queue_context = AllocSetContextCreate(context, "pg_aggjobs queue",
										  ALLOCSET_DEFAULT_SIZES);
	handles = MemoryContextAllocZero(context,
									 sizeof(BackgroundWorkerHandle *) *
										 (Size) aj_segment()->nslots);
	queue = NULL;
	nqueue = 0;
	must_read = true;
}

/* The table may hold queued runs that the list does not. */
void
aj_dispatch_requeue(void)
{
	must_read = true;
}

/* A run is over: the next one of its job may have its turn. */
void
aj_dispatch_job_ended(void)
{
	must_read |= more_behind;
}

static void
read_queue(void)
{
	if (!must_read && !(nqueue == 0 && queue_is_cut))
		return;
	MemoryContextReset(queue_context);
	queue = NULL;
	nqueue = 0;
	aj_tx_begin("look for queued runs");
	queue = aj_runs_queued(MAX_QUEUE, &nqueue, queue_context);
	aj_tx_commit();
	queue_is_cut = nqueue == MAX_QUEUE;
	more_behind = false;
	for (int i = 0; i < nqueue; i++)
		more_behind |= queue[i].has_more;
	must_read = false;
}

static bool
is_queued(int64 job_id)
{
	for (int i = 0; i < nqueue; i++)
		if (queue[i].job_id == job_id && queue[i].run_id != 0)
			return true;
	return false;
}

static bool
is_at_work(int64 job_id)
{
	static AjSlotView *views = NULL;
	int n;

	if (views == NULL)
		views = MemoryContextAlloc(
			TopMemoryContext, sizeof(AjSlotView) * (Size) aj_segment()->nslots);
	n = aj_slots_look(MyDatabaseId, views);
	for (int i = 0; i < n; i++)
		if (views[i].job_id == job_id && views[i].state != AJ_SLOT_IDLE &&
			!views[i].run_recorded)
			return true;
	return false;
}

/* Is a run of this job queued or at work? */
bool
aj_dispatch_is_active(int64 job_id)
{
	return is_queued(job_id) || is_at_work(job_id);
}

typedef enum Given
{
	GIVEN_NOT,		 /* stays where it is */
	GIVEN_AWAY,		 /* has a worker */
	GIVEN_NO_PROCESS /* no process can be had at all */
} Given;

/* Handles must outlive the pass in which the worker is asked for. */
static bool
ask_for_process(const char *name, int slot)
{
	MemoryContext saved = MemoryContextSwitchTo(dispatch_context);
	bool asked;

	if (handles[slot] != NULL)
		pfree(handles[slot]);
	handles[slot] = NULL;
	asked = aj_process_start(name, "pg_aggjobs worker", "aj_worker_main", slot,
							 &handles[slot]);
	if (!asked)
		handles[slot] = NULL;
	MemoryContextSwitchTo(saved);
	return asked;
}

static Given
start_worker(const AjQueuedRun *run)
{
	char name[BGW_MAXLEN];
	int slot =
		aj_slots_reserve(MyDatabaseId, run->owner, run->run_id, run->job_id);

	if (slot < 0)
		return GIVEN_NO_PROCESS;
	snprintf(name, sizeof(name), "pg_aggjobs worker for database %u",
			 MyDatabaseId);
	if (!ask_for_process(name, slot))
	{
		aj_slots_free(slot);
		return GIVEN_NO_PROCESS;
	}
	return GIVEN_AWAY;
}

/* "no_process": none could be had for an earlier run of the queue. */
static Given
give(const AjQueuedRun *run, int *nworkers, bool no_process)
{
	Given given = GIVEN_NOT;

	if (is_at_work(run->job_id))
		return GIVEN_NOT;
	if (aj_slots_assign(MyDatabaseId, run->owner, run->run_id, run->job_id))
		return GIVEN_AWAY;
	if (*nworkers < aj_max_workers && !no_process)
		given = start_worker(run);
	if (given == GIVEN_AWAY)
		(*nworkers)++;
	else
		(void) aj_slots_retire_one(MyDatabaseId, run->owner);
	return given;
}

static int
count_workers(const AjSlotView *slots, int nslots)
{
	int n = 0;

	for (int i = 0; i < nslots; i++)
		n += slots[i].state != AJ_SLOT_ENDED;
	return n;
}

static void
note_shortage(bool is_short)
{
	if (is_short && !short_of_processes)
		ereport(LOG,
				(errmsg("runs wait because no background worker slot is free"),
				 errhint(
					 "Raise max_worker_processes and restart the server.")));
	short_of_processes = is_short;
}

static bool
has_slot(const AjSlotView *slots, int nslots, int64 run_id)
{
	for (int i = 0; i < nslots; i++)
		if (slots[i].run_id == run_id && !slots[i].run_recorded)
			return true;
	return false;
}

/*
 * aj_dispatch
 *		Give away as many queued runs as can be; true if some wait because
 *		the server has no process for them, so that time has to be watched.
 *
 * "slots" is how the slots of this database look now.
 */
bool
aj_dispatch(const AjSlotView *slots, int nslots)
{
	int nworkers = count_workers(slots, nslots);
	int kept = 0;
	bool no_process = false;

	read_queue();
	for (int i = 0; i < nqueue; i++)
	{
		Given given;

		CHECK_FOR_INTERRUPTS();
		if (has_slot(slots, nslots, queue[i].run_id))
			continue;
		given = give(&queue[i], &nworkers, no_process);
		no_process |= given == GIVEN_NO_PROCESS;
		if (given != GIVEN_AWAY)
			queue[kept++] = queue[i];
	}
	nqueue = kept;
	note_shortage(no_process);
	return no_process;
}

/* Did the postmaster fail to start the worker of this slot? */
bool
aj_dispatch_start_failed(int slot_index)
{
	pid_t pid;

	return handles[slot_index] != NULL &&
		GetBackgroundWorkerPid(handles[slot_index], &pid) == BGWH_STOPPED;
}
