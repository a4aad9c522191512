/*-------------------------------------------------------------------------
 *
 * slots.c
 *	  Worker slots: what each worker does, and how it is asked to stop.
 *
 *		FREE -> STARTING -> RUNNING -> DONE -> IDLE -> ASSIGNED -> RUNNING ...
 *		any state of a living worker -> ENDED -> FREE
 *
 * The scheduler of the slot's database moves FREE to STARTING, DONE to IDLE,
 * IDLE to ASSIGNED and ENDED to FREE; the worker makes all other moves.  Who
 * wants a run stopped writes the reason into the slot and signals the worker
 * under the lock, so that the signal can't reach a later run.
 *
 * State: AjShared.slots, guarded by AjShared.lock, which every function here
 * takes and gives back.  The exit callback of a worker brings its slot to
 * ENDED, so a slot never outlives its process; after a crash of the server
 * the whole segment is made anew.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/shmem/slots.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <signal.h>

#include "base/clock.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "shmem/databases.h"
#include "shmem/slots.h"
#include "utils/timestamp.h"

#define lock_slots() LWLockAcquire(aj_segment()->lock, LW_EXCLUSIVE)
#define unlock_slots() LWLockRelease(aj_segment()->lock)

static AjSlot *
slot_at(int index)
{
	Assert(index >= 0 && index < aj_segment()->nslots);
	return &aj_segment()->slots[index];
}

static bool
has_process(const AjSlot *slot)
{
	return slot->state != AJ_SLOT_FREE && slot->state != AJ_SLOT_ENDED;
}

static void
give_run(AjSlot *slot, AjSlotState state, const AjSlotRun *run)
{
	slot->state = state;
	slot->run_id = run->run_id;
	slot->job_id = run->job_id;
	slot->queue_id = run->queue_id;
	slot->least_of_queue = run->least_of_queue;
	slot->run_started = 0;
	slot->deadline = DT_NOEND;
	slot->stop = AJ_STOP_NONE;
	slot->terminated = false;
	slot->unresponsive = false;
	slot->unnoticed = false;
	slot->run_recorded = false;
	slot->fatal_sqlstate = 0;
	slot->reason[0] = '\0';
}

/*
 * aj_slots_reserve
 *		Take a free slot for a new worker that starts with this run; returns
 *		its index, or -1 if none is free.
 */
int
aj_slots_reserve(Oid dboid, const AjSlotRun *run)
{
	AjShared *shared = aj_segment();
	int index = -1;

	lock_slots();
	for (int i = 0; i < shared->nslots && index < 0; i++)
	{
		AjSlot *slot = &shared->slots[i];

		if (slot->state != AJ_SLOT_FREE)
			continue;
		give_run(slot, AJ_SLOT_STARTING, run);
		slot->dboid = dboid;
		slot->owner = run->owner;
		slot->procno = AJ_NO_PROC;
		slot->pid = 0;
		slot->reserved_at = aj_now();
		slot->runs_done = 0;
		pg_atomic_write_u64(&slot->log.head, 0);
		pg_atomic_write_u64(&slot->log.tail, 0);
		pg_atomic_write_u32(&slot->progress.chunk_no, 0);
		index = i;
	}
	unlock_slots();
	return index;
}

/* Give a run to an idle worker of its owner; false if there is none. */
bool
aj_slots_assign(Oid dboid, const AjSlotRun *run)
{
	AjShared *shared = aj_segment();
	int procno = AJ_NO_PROC;

	lock_slots();
	for (int i = 0; i < shared->nslots && procno == AJ_NO_PROC; i++)
	{
		AjSlot *slot = &shared->slots[i];

		if (slot->state != AJ_SLOT_IDLE || slot->dboid != dboid ||
			slot->owner != run->owner || slot->stop != AJ_STOP_NONE)
			continue;
		give_run(slot, AJ_SLOT_ASSIGNED, run);
		procno = slot->procno;
	}
	unlock_slots();
	aj_segment_set_latch(procno);
	return procno != AJ_NO_PROC;
}

static void
copy_view(const AjSlot *slot, int index, AjSlotView *view)
{
	AjLogRing *log = unconstify(AjLogRing *, &slot->log);

	view->index = index;
	view->state = slot->state;
	view->dboid = slot->dboid;
	view->owner = slot->owner;
	view->pid = slot->pid;
	view->reserved_at = slot->reserved_at;
	view->worker_start = slot->worker_start;
	view->run_id = slot->run_id;
	view->job_id = slot->job_id;
	view->queue_id = slot->queue_id;
	view->run_started = slot->run_started;
	view->deadline = slot->deadline;
	view->stop = slot->stop;
	view->stop_at = slot->stop_at;
	view->terminated = slot->terminated;
	view->unresponsive = slot->unresponsive;
	view->unnoticed = slot->unnoticed;
	view->run_recorded = slot->run_recorded;
	view->runs_done = slot->runs_done;
	view->fatal_sqlstate = slot->fatal_sqlstate;
	view->has_log =
		pg_atomic_read_u64(&log->head) != pg_atomic_read_u64(&log->tail);
	aj_progress_view(unconstify(AjProgress *, &slot->progress),
					 &view->progress);
	strlcpy(view->reason, slot->reason, sizeof(view->reason));
}

/* Where the worker in this slot says how far it is. */
AjProgress *
aj_slots_progress(int index)
{
	return &slot_at(index)->progress;
}

/*
 * aj_slots_look
 *		Copy the slots of one database, or of all if "dboid" is InvalidOid,
 *		into "views", which has room for as many as there are.  Returns how
 *		many.
 */
int
aj_slots_look(Oid dboid, AjSlotView *views)
{
	AjShared *shared = aj_segment();
	int n = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < shared->nslots; i++)
	{
		AjSlot *slot = &shared->slots[i];

		if (slot->state != AJ_SLOT_FREE &&
			(dboid == InvalidOid || slot->dboid == dboid))
			copy_view(slot, i, &views[n++]);
	}
	LWLockRelease(shared->lock);
	return n;
}

/* Scheduler: the end of the run in this slot has been taken note of. */
void
aj_slots_noticed(int index)
{
	lock_slots();
	if (slot_at(index)->state == AJ_SLOT_DONE)
		slot_at(index)->state = AJ_SLOT_IDLE;
	unlock_slots();
}

/* Scheduler: nothing is left to learn from an ended or stillborn worker. */
void
aj_slots_free(int index)
{
	AjSlot *slot = slot_at(index);

	lock_slots();
	if (slot->state == AJ_SLOT_ENDED ||
		(slot->state == AJ_SLOT_STARTING && slot->pid == 0))
		slot->state = AJ_SLOT_FREE;
	unlock_slots();
}

/* An idle worker that this owner in this database can't use. */
static AjSlot *
find_useless(Oid dboid, Oid owner, bool of_this_database)
{
	AjShared *shared = aj_segment();

	for (int i = 0; i < shared->nslots; i++)
	{
		AjSlot *slot = &shared->slots[i];

		if (slot->state == AJ_SLOT_IDLE && slot->stop == AJ_STOP_NONE &&
			(slot->dboid == dboid) == of_this_database &&
			(slot->dboid != dboid || slot->owner != owner))
			return slot;
	}
	return NULL;
}

/*
 * aj_slots_retire_one
 *		Ask an idle worker of another owner to end, with "anywhere" also one of
 *		another database; false if there is none.
 */
bool
aj_slots_retire_one(Oid dboid, Oid owner, bool anywhere)
{
	int procno = AJ_NO_PROC;
	AjSlot *slot;

	lock_slots();
	slot = find_useless(dboid, owner, true);
	if (slot == NULL && anywhere)
		slot = find_useless(dboid, owner, false);
	if (slot != NULL)
	{
		slot->stop = AJ_STOP_RETIRE;
		slot->stop_at = aj_now();
		procno = slot->procno;
	}
	unlock_slots();
	aj_segment_set_latch(procno);
	return slot != NULL;
}

/* Interrupt what runs, or wake an idle worker; the lock is held. */
static void
interrupt(const AjSlot *slot)
{
	if (slot->pid != 0 && slot->state == AJ_SLOT_RUNNING)
		(void) kill(slot->pid, SIGINT);
	aj_segment_set_latch(slot->procno);
}

/* Write why to stop, and interrupt; the lock is held. */
static void
ask_to_stop(AjSlot *slot, AjStop stop, const char *reason)
{
	if (slot->stop == AJ_STOP_NONE || slot->stop == AJ_STOP_RETIRE)
	{
		slot->stop = stop;
		slot->stop_at = aj_now();
		strlcpy(slot->reason, reason, sizeof(slot->reason));
	}
	interrupt(slot);
}

/*
 * aj_slots_escalate
 *		Scheduler: interrupt a run that should stop once more, and end its
 *		worker when aggjobs.cancel_grace has passed.  Never SIGKILL, which
 *		would restart the server: true if it has now turned out that the
 *		worker does not react to anything less.
 */
bool
aj_slots_escalate(int index, TimestampTz now)
{
	AjSlot *slot = slot_at(index);
	bool turned_out = false;

	lock_slots();
	/* later only by a clock that was set back */
	slot->stop_at = Min(slot->stop_at, now);
	if (slot->state == AJ_SLOT_RUNNING && slot->stop == AJ_STOP_NONE &&
		slot->deadline <= now)
		ask_to_stop(slot, AJ_STOP_TIMEOUT, "time limit");
	else if (has_process(slot) && slot->pid != 0 && !slot->terminated &&
			 slot->stop != AJ_STOP_NONE &&
			 TimestampDifferenceExceeds(slot->stop_at, now, aj_cancel_grace))
	{
		slot->terminated = true;
		(void) kill(slot->pid, SIGTERM);
	}
	else if (has_process(slot) && slot->terminated && !slot->unresponsive &&
			 (now - slot->stop_at) / 1000 > (int64) aj_cancel_grace * 2)
		turned_out = slot->unresponsive = true;
	else if (slot->stop != AJ_STOP_NONE)
		interrupt(slot);
	unlock_slots();
	return turned_out;
}

/*
 * aj_slots_attach
 *		Worker: take the slot that the scheduler reserved.  False if it was
 *		given up meanwhile.
 */
bool
aj_slots_attach(int index, Oid *dboid, Oid *owner)
{
	AjSlot *slot = slot_at(index);
	bool mine;

	lock_slots();
	mine = slot->state == AJ_SLOT_STARTING && slot->pid == 0;
	if (mine)
	{
		slot->procno = AJ_MY_PROC_NUMBER;
		slot->pid = MyProcPid;
		slot->worker_start = MyStartTimestamp;
		*dboid = slot->dboid;
		*owner = slot->owner;
	}
	unlock_slots();
	return mine;
}

/*
 * aj_slots_take_run
 *		Worker: start with the run it was given; 0 if there is none, or if it
 *		was asked to leave before it could start.  The run stays queued then.
 */
int64
aj_slots_take_run(int index, TimestampTz now)
{
	AjSlot *slot = slot_at(index);
	int64 run_id = 0;

	lock_slots();
	if (slot->state == AJ_SLOT_STARTING || slot->state == AJ_SLOT_ASSIGNED)
	{
		slot->state = AJ_SLOT_RUNNING;
		slot->run_started = now;
		if (slot->stop == AJ_STOP_NONE)
			run_id = slot->run_id;
		else
			slot->run_recorded = true;
	}
	unlock_slots();
	return run_id;
}

/* Worker: the time limit of the run, for the scheduler to watch as well. */
void
aj_slots_set_deadline(int index, TimestampTz deadline)
{
	AjSlot *slot = slot_at(index);
	Oid dboid;

	lock_slots();
	slot->deadline = deadline;
	dboid = slot->dboid;
	unlock_slots();
	aj_databases_post(dboid, AJ_WAKE_SLOTS, 0);
}

/*
 * aj_slots_run_over
 *		Worker: its run has ended; "recorded" if the table says so.  If it is
 *		"leaving" no other run can be given to it.
 */
void
aj_slots_run_over(int index, bool recorded, bool leaving)
{
	AjSlot *slot = slot_at(index);

	lock_slots();
	slot->state = AJ_SLOT_DONE;
	slot->run_recorded = recorded;
	slot->runs_done++;
	slot->deadline = DT_NOEND;
	if (leaving && slot->stop == AJ_STOP_NONE)
	{
		slot->stop = AJ_STOP_RETIRE;
		slot->stop_at = aj_now();
	}
	unlock_slots();

	/* A signal that came for this run is not for the next one. */
	QueryCancelPending = false;
	aj_databases_post(slot->dboid, AJ_WAKE_SLOTS, 0);
	aj_slots_tell_run_ended();
}

/* Worker: has it been given a run that it has not taken yet? */
bool
aj_slots_has_assignment(int index)
{
	bool has;

	LWLockAcquire(aj_segment()->lock, LW_SHARED);
	has = slot_at(index)->state == AJ_SLOT_ASSIGNED;
	unlock_slots();
	return has;
}

/* Has its queue no worker to spare?  The lock is held. */
static bool
is_kept(const AjSlot *slot)
{
	AjShared *shared = aj_segment();
	int n = 0;

	if (slot->queue_id == 0 || slot->least_of_queue == 0)
		return false;
	for (int i = 0; i < shared->nslots; i++)
	{
		const AjSlot *other = &shared->slots[i];

		n += has_process(other) && other->dboid == slot->dboid &&
			other->queue_id == slot->queue_id && other->stop == AJ_STOP_NONE;
	}
	return n <= slot->least_of_queue;
}

/*
 * aj_slots_may_idle
 *		Worker without work: may it wait on?  If not it is marked so that no
 *		run can be given to it any more.
 *
 * Time does not end the last workers of a queue that wants some kept.
 */
bool
aj_slots_may_idle(int index, bool timed_out, bool must_leave)
{
	AjSlot *slot = slot_at(index);
	bool stay;

	lock_slots();
	if (slot->state == AJ_SLOT_ASSIGNED)
		stay = true;
	else
		stay = slot->stop == AJ_STOP_NONE && !must_leave &&
			(!timed_out || is_kept(slot));
	if (!stay && slot->stop == AJ_STOP_NONE)
	{
		slot->stop = AJ_STOP_RETIRE;
		slot->stop_at = aj_now();
	}
	unlock_slots();
	return stay;
}

/* Is this worker's run to stop, and why?  "reason" has AJ_REASON_SIZE. */
AjStop
aj_slots_stop(int index, char *reason)
{
	AjSlot *slot = slot_at(index);
	AjStop stop;

	LWLockAcquire(aj_segment()->lock, LW_SHARED);
	stop = slot->stop;
	strlcpy(reason, slot->reason, AJ_REASON_SIZE);
	unlock_slots();
	return stop;
}

/*
 * aj_slots_leave
 *		Worker, at its exit: leave the slot for the scheduler to look at.
 *		"sqlstate" and "message" are those of the error that ended the
 *		process, 0 and NULL if none did.
 */
void
aj_slots_leave(int index, int sqlstate, const char *message)
{
	AjSlot *slot = slot_at(index);
	Oid dboid;

	lock_slots();
	slot->fatal_sqlstate = sqlstate;
	if (message != NULL && slot->stop == AJ_STOP_NONE)
		strlcpy(slot->reason, message, sizeof(slot->reason));
	/* A run that was assigned and never begun is queued still. */
	if (slot->state == AJ_SLOT_IDLE || slot->state == AJ_SLOT_DONE ||
		slot->state == AJ_SLOT_ASSIGNED)
		slot->run_recorded = true;
	slot->unnoticed = slot->state == AJ_SLOT_DONE;
	slot->state = AJ_SLOT_ENDED;
	slot->procno = AJ_NO_PROC;
	dboid = slot->dboid;
	unlock_slots();
	aj_databases_post(dboid, AJ_WAKE_SLOTS, 0);
}

/*
 * aj_slots_stop_run
 *		Ask the worker that has this run to stop it; false if none has it.
 */
bool
aj_slots_stop_run(Oid dboid, int64 run_id, AjStop stop, const char *reason)
{
	AjShared *shared = aj_segment();
	bool found = false;

	lock_slots();
	for (int i = 0; i < shared->nslots && !found; i++)
	{
		AjSlot *slot = &shared->slots[i];

		if (!has_process(slot) || slot->dboid != dboid ||
			slot->run_id != run_id || slot->state == AJ_SLOT_DONE ||
			slot->state == AJ_SLOT_IDLE)
			continue;
		ask_to_stop(slot, stop, reason);
		found = true;
	}
	unlock_slots();
	if (found)
		aj_databases_post(dboid, AJ_WAKE_SLOTS, 0);
	return found;
}

/* Ask all workers of a database to leave, or end those that have not. */
void
aj_slots_stop_database(Oid dboid, AjStop stop, const char *reason,
					   bool terminate)
{
	AjShared *shared = aj_segment();

	lock_slots();
	for (int i = 0; i < shared->nslots; i++)
	{
		AjSlot *slot = &shared->slots[i];

		if (!has_process(slot) || slot->dboid != dboid)
			continue;
		ask_to_stop(slot, stop, reason);
		if (terminate && slot->pid != 0 && !slot->terminated)
		{
			slot->terminated = true;
			(void) kill(slot->pid, SIGTERM);
		}
	}
	unlock_slots();
}

/* Wake those who wait for the end of a run. */
void
aj_slots_tell_run_ended(void)
{
	ConditionVariableBroadcast(&aj_segment()->run_ended);
}
