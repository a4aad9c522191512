/*-------------------------------------------------------------------------
 *
 * dispatch.c
 *	  Gives queued runs to workers.
 *
 * The run that has waited longest goes first, where a point of priority counts
 * as a minute of waiting.  A run is passed over, and keeps its place, while
 * another run of its job is at work, or while as many runs of its queue are as
 * may be.  It goes to an idle worker of its owner, or to a new worker while
 * there are fewer than aggjobs.max_workers; an idle worker of another owner is
 * asked to make room.
 *
 * The table is the truth and the list here a copy of its oldest queued rows,
 * one for each job, so that the many runs of one job can't hide those of
 * others.
 *
 * State: private to the scheduler.  Failure: when the server has no process
 * slot left, runs stay queued; that is logged once per episode and tried
 * again every 100 ms and whenever a worker ends.  A run that is too late, which
 * can't be written down, is not started either.
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
#include "base/testing.h"
#include "base/tx.h"
#include "catalog/run.h"
#include "miscadmin.h"
#include "process/dispatch.h"
#include "process/due.h"
#include "process/process.h"
#include "utils/memutils.h"

#define MAX_QUEUE 1000 /* of each queue */
#define RETRY_SHORTAGE_MS 100
#define RETRY_MISSED_MS 1000

static MemoryContext dispatch_context = NULL;
static MemoryContext queue_context = NULL;
static AjQueuedRun *queue = NULL;
static int nqueue = 0;
static bool queue_is_cut = false; /* the table may hold more */
static bool more_behind = false;  /* runs that wait for one of their own job */
static TimestampTz next_ready = DT_NOEND; /* when another run may start */
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

/* One worker at least is kept for other jobs, unless there is but one. */
static int
most_backfill_workers(void)
{
	return Min(aj_max_backfill_workers, Max(aj_max_workers - 1, 1));
}

static void
read_queue(TimestampTz now)
{
	if (!must_read && !(nqueue == 0 && queue_is_cut) && now < next_ready)
		return;
	MemoryContextReset(queue_context);
	queue = NULL;
	nqueue = 0;
	aj_tx_begin("look for queued runs");
	queue = aj_runs_queued(MAX_QUEUE, most_backfill_workers(), &nqueue,
						   &next_ready, queue_context);
	aj_tx_commit();
	queue_is_cut = nqueue >= MAX_QUEUE;
	more_behind = false;
	for (int i = 0; i < nqueue; i++)
		more_behind |= queue[i].has_more;
	must_read = false;
}

/* How the slots looked at the begin of the dispatch, and what it has given. */
typedef struct Picture
{
	const AjSlotView *slots;
	int nslots;
	int nworkers;
	int ngiven;
	AjQueuedRun *given;
	bool no_process; /* none could be had for an earlier run */
} Picture;

static bool
is_busy(const AjSlotView *slot)
{
	return slot->state != AJ_SLOT_IDLE && !slot->run_recorded;
}

static bool
is_at_work(const Picture *p, int64 job_id)
{
	for (int i = 0; i < p->nslots; i++)
		if (p->slots[i].job_id == job_id && is_busy(&p->slots[i]))
			return true;
	for (int i = 0; i < p->ngiven; i++)
		if (p->given[i].job_id == job_id)
			return true;
	return false;
}

/* Do as many runs of its queue go on as may? */
static bool
queue_is_full(const Picture *p, const AjQueuedRun *run)
{
	int n = 0;

	if (run->queue_id == 0)
		return false;
	for (int i = 0; i < p->nslots; i++)
		n += p->slots[i].queue_id == run->queue_id && is_busy(&p->slots[i]);
	for (int i = 0; i < p->ngiven; i++)
		n += p->given[i].queue_id == run->queue_id;
	return n >= run->most_of_queue;
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
start_worker(const AjSlotRun *run)
{
	char name[BGW_MAXLEN];
	int slot = aj_slots_reserve(MyDatabaseId, run);

	if (slot < 0)
		return GIVEN_NO_PROCESS;
	snprintf(name, sizeof(name), "pg_aggjobs worker for database %u",
			 MyDatabaseId);
	if (!ask_for_process(name, slot))
	{
		aj_slots_free(slot);
		return GIVEN_NO_PROCESS;
	}
	AJ_FAULT_POINT("at", "worker asked for");
	return GIVEN_AWAY;
}

static Given
give(const AjQueuedRun *queued, Picture *p)
{
	Given given = GIVEN_NOT;
	AjSlotRun run = {
		.run_id = queued->run_id,
		.job_id = queued->job_id,
		.owner = queued->owner,
		.queue_id = queued->queue_id,
		.least_of_queue = queued->least_of_queue,
	};

	if (is_at_work(p, run.job_id) || queue_is_full(p, queued))
		return GIVEN_NOT;
	if (aj_slots_assign(MyDatabaseId, &run))
		return GIVEN_AWAY;
	if (p->nworkers < aj_max_workers && !p->no_process)
		given = start_worker(&run);
	if (given == GIVEN_AWAY)
		p->nworkers++;
	else
		(void) aj_slots_retire_one(MyDatabaseId, run.owner,
								   given == GIVEN_NO_PROCESS);
	return given;
}

static void
miss(void *arg)
{
	aj_run_miss(*(int64 *) arg);
}

/*
 * It is too late for this run: write that down, give the next of its job its
 * turn, and let a schedule that counts from the ends of runs count from here.
 * False if that has to be tried again, because the row is locked or the disk is
 * full.
 */
static bool
note_missed(AjQueuedRun *run, TimestampTz now)
{
	static int reported = 0;

	if (!aj_tx_try_again("miss a slot", miss, &run->run_id, &reported))
		return false;
	must_read |= run->has_more;
	aj_due_job_ended(run->job_id, now);
	return true;
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
 *		Give away as many queued runs as can be; returns when to look again
 *		if nothing happens before.
 *
 * "slots" is how the slots of this database look now.
 */
TimestampTz
aj_dispatch(const AjSlotView *slots, int nslots, TimestampTz now)
{
	Picture picture = {.slots = slots, .nslots = nslots};
	TimestampTz look_again;
	int kept = 0;

	read_queue(now);
	look_again = next_ready;
	picture.nworkers = count_workers(slots, nslots);
	picture.given = palloc(sizeof(AjQueuedRun) * (Size) Max(nqueue, 1));
	for (int i = 0; i < nqueue; i++)
	{
		Given given;

		CHECK_FOR_INTERRUPTS();
		if (has_slot(slots, nslots, queue[i].run_id))
			continue;
		if (queue[i].late_at < now)
		{
			if (note_missed(&queue[i], now))
				continue;
			look_again = Min(look_again,
							 TimestampTzPlusMilliseconds(now, RETRY_MISSED_MS));
			queue[kept++] = queue[i];
			continue;
		}
		given = give(&queue[i], &picture);
		picture.no_process |= given == GIVEN_NO_PROCESS;
		if (given == GIVEN_AWAY)
		{
			picture.given[picture.ngiven++] = queue[i];
			continue;
		}
		look_again = Min(look_again, queue[i].late_at);
		queue[kept++] = queue[i];
	}
	nqueue = kept;
	if (must_read)
		look_again = now;
	note_shortage(picture.no_process);
	if (picture.no_process)
		look_again = Min(look_again,
						 TimestampTzPlusMilliseconds(now, RETRY_SHORTAGE_MS));
	return look_again;
}

/* Did the postmaster fail to start the worker of this slot? */
bool
aj_dispatch_start_failed(int slot_index)
{
	pid_t pid;

	return handles[slot_index] != NULL &&
		GetBackgroundWorkerPid(handles[slot_index], &pid) == BGWH_STOPPED;
}
