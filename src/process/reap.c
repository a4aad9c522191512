/*-------------------------------------------------------------------------
 *
 * reap.c
 *	  Looks after the workers: their ends, their limits, their log lines.
 *
 * A worker stores the end of its run itself.  Where it could not, because
 * something ended the process, the scheduler does: with the status that the
 * slot tells of (who asked it to stop, which error ended it), and "crashed"
 * if it tells nothing.
 *
 * The history is pruned here as runs end, a few rows at a time, so that it
 * stays bounded without a job of its own.
 *
 * State: private to the scheduler, how many runs of a job have ended since it
 * was last pruned, and which errors were reported.
 *
 * Failure: what can't be stored, because a row is locked or the disk is full,
 * stays in the slot and is tried again each second; the log tells of it once.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/reap.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/settings.h"
#include "base/tx.h"
#include "catalog/backfill.h"
#include "catalog/job.h"
#include "catalog/run.h"
#include "catalog/run_log.h"
#include "miscadmin.h"
#include "process/dispatch.h"
#include "process/due.h"
#include "process/reap.h"
#include "shmem/logring.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define PRUNE_EVERY 20 /* ended runs of a job */
#define PRUNE_ROWS 100 /* at a time */
#define PRUNE_OLD_EVERY_MS (60 * 60 * 1000)
#define LOCKED_LOGS_MS 1000
#define STARTED_LATE_MS 10000
#define ESCALATE_EVERY_MS 1000
#define MAX_COUNTED 100000 /* jobs; above, the count begins anew */
#define MAX_TO_PRUNE 1000

typedef struct Ended
{
	int64 job_id; /* hash key */
	int runs;
} Ended;

/* What the log was told of a slot; see aj_tx_try_again(). */
typedef struct Reported
{
	int end;
	int lines;
} Reported;

static Reported *reported = NULL; /* of each slot */
static HTAB *ended = NULL;
static MemoryContext reap_context = NULL;
static int64 to_prune[MAX_TO_PRUNE];
static int nto_prune = 0;
static TimestampTz next_prune_old = 0;

/* Begin anew; what is remembered lives in "context". */
void
aj_reap_init(MemoryContext context)
{
	HASHCTL control = {0};

	if (ended != NULL)
		hash_destroy(ended);
	reap_context = context;
	if (reported == NULL)
		reported = MemoryContextAllocZero(
			context, sizeof(Reported) * (Size) aj_segment()->nslots);
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(Ended);
	control.hcxt = context;
	ended = hash_create("pg_aggjobs ended runs", 64, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

typedef struct Lines
{
	AjLogRing *ring;
	uint64 position; /* after the last line that was stored */
} Lines;

static void
add_lines(void *arg)
{
	Lines *lines = arg;
	AjLogLine *line = palloc(sizeof(AjLogLine));
	uint64 next;

	while ((next = aj_logring_get(lines->ring, lines->position, line)) !=
		   lines->position)
	{
		CHECK_FOR_INTERRUPTS();
		lines->position = next;
		aj_run_log_add(line->run_id, line->seq, line->logged_at, line->elevel,
					   line->message);
	}
}

/*
 * Store the log lines of one slot; returns the milliseconds after which to look
 * again, or 0 if there are no more: soon if there are by now, later if the
 * worker is storing them itself and waits for somebody.
 */
static int
store_lines(int index)
{
	Lines lines = {.ring = &aj_segment()->slots[index].log};

	if (!aj_tx_try_again("store log lines", add_lines, &lines,
						 &reported[index].lines))
		return LOCKED_LOGS_MS;
	return aj_logring_forget(lines.ring, lines.position)
		? 0
		: AJ_STORE_LOGS_EVERY_MS;
}

/*
 * aj_reap_store_logs
 *		Store the log lines that workers have written so far; returns the
 *		milliseconds after which to look again, or 0 if that is all of them.
 */
int
aj_reap_store_logs(const AjSlotView *slots, int nslots)
{
	int again = 0;

	for (int i = 0; i < nslots; i++)
		if (slots[i].has_log)
			again = Max(again, store_lines(slots[i].index));
	return again;
}

/* The end that a slot tells of, of a run that its worker did not end. */
static void
describe_end(const AjSlotView *slot, AjRunEnd *end)
{
	end->note = slot->reason;
	if (slot->stop == AJ_STOP_TIMEOUT)
	{
		end->status = "timed_out";
		end->note =
			"over the time limit of the job; the worker had to be ended";
	}
	else if (slot->stop == AJ_STOP_CANCEL || slot->stop == AJ_STOP_LEAVE ||
			 slot->stop == AJ_STOP_SHUTDOWN)
	{
		end->status = "cancelled";
		end->is_interrupted = slot->stop != AJ_STOP_CANCEL;
	}
	else if (slot->fatal_sqlstate == ERRCODE_ADMIN_SHUTDOWN)
	{
		end->status = "cancelled";
		end->note =
			"the worker was ended by pg_terminate_backend() or a shutdown";
	}
	else if (slot->fatal_sqlstate != 0)
	{
		end->status = "failed";
		end->note = NULL;
		end->error = slot->reason;
		end->sqlstate = pstrdup(unpack_sql_state(slot->fatal_sqlstate));
	}
	else
	{
		end->status = "crashed";
		end->note = NULL;
		end->error = "the worker ended before the end of the run was stored";
		end->hint = "The server's log may tell why.";
	}
}

/*
 * A worker that could not connect died of the server's words, which know of a
 * role and of no job.  Say what is wrong with the owner of the job, if it still
 * is.
 */
static void
explain_refusal(const AjSlotView *slot, AjRunEnd *end)
{
	AjRun *run;
	AjJob *job = NULL;
	const char *problem = NULL;

	if (slot->fatal_sqlstate != ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION &&
		slot->fatal_sqlstate != ERRCODE_INSUFFICIENT_PRIVILEGE)
		return;
	run = aj_run_find(slot->run_id);
	if (run != NULL && strcmp(run->status, "queued") == 0)
		job = aj_job_get(run->job_id);
	if (job != NULL && job->owner != run->owner)
		problem = "the job has got another owner since the run was queued";
	else if (job != NULL)
		problem =
			aj_job_owner_problem(job->owner, job->owner_name, MyDatabaseId);
	if (problem == NULL)
		return;
	end->error = problem;
	end->sqlstate = "42501";
}

static void
finish_run(void *arg)
{
	const AjSlotView *slot = arg;
	AjRunEnd end = {0};

	/* Ended from outside before it began: another worker takes the run. */
	if (slot->fatal_sqlstate == ERRCODE_ADMIN_SHUTDOWN &&
		slot->stop == AJ_STOP_NONE && aj_run_is_queued(slot->run_id))
		return;
	describe_end(slot, &end);
	if (strcmp(end.status, "failed") == 0)
		explain_refusal(slot, &end);
	(void) aj_run_finish(slot->run_id, &end);
}

/* Count the runs of a job; its history is pruned after some of them. */
void
aj_reap_count_run(int64 job_id)
{
	Ended *entry;
	bool found;

	if (hash_get_num_entries(ended) >= MAX_COUNTED)
		aj_reap_init(reap_context);
	entry = hash_search(ended, &job_id, HASH_ENTER, &found);
	entry->runs = found ? entry->runs + 1 : 1;
	if (entry->runs < PRUNE_EVERY || nto_prune == MAX_TO_PRUNE)
		return;
	to_prune[nto_prune++] = job_id;
	(void) hash_search(ended, &job_id, HASH_REMOVE, NULL);
}

static void
job_ended(int64 job_id)
{
	aj_reap_count_run(job_id);
	aj_due_job_ended(job_id, aj_now());
	aj_dispatch_job_ended();
}

/*
 * Give the slot of a worker that has ended free, once its end and its lines are
 * stored.  What can't be stored now stays in the slot for the next look.
 */
static void
reap_ended(const AjSlotView *slot)
{
	bool lines_wait =
		slot->has_log && store_lines(slot->index) == LOCKED_LOGS_MS;

	if (!slot->run_recorded)
	{
		if (!aj_tx_try_again("end a run", finish_run,
							 unconstify(AjSlotView *, slot),
							 &reported[slot->index].end))
			return;
		aj_slots_tell_run_ended();
	}
	if (lines_wait)
		return;
	if (!slot->run_recorded || slot->unnoticed)
		job_ended(slot->job_id);
	reported[slot->index] = (Reported){0};
	aj_slots_free(slot->index);

	/* A run that was given to it and never begun is queued still. */
	aj_dispatch_requeue();
}

/* A worker that was asked for and never came: its run is queued still. */
static bool
is_stillborn(const AjSlotView *slot)
{
	return slot->state == AJ_SLOT_STARTING && slot->pid == 0 &&
		(aj_dispatch_start_failed(slot->index) ||
		 TimestampDifferenceExceeds(slot->reserved_at, aj_now(),
									STARTED_LATE_MS));
}

/*
 * aj_reap_ends
 *		Take note of runs and workers that have ended; true if there were
 *		any.
 */
bool
aj_reap_ends(const AjSlotView *slots, int nslots)
{
	bool any = false;

	for (int i = 0; i < nslots; i++)
	{
		const AjSlotView *slot = &slots[i];

		if (slot->state == AJ_SLOT_DONE)
		{
			job_ended(slot->job_id);
			aj_slots_noticed(slot->index);
		}
		else if (slot->state == AJ_SLOT_ENDED)
			reap_ended(slot);
		else if (is_stillborn(slot))
		{
			aj_slots_free(slot->index);
			aj_dispatch_requeue();
		}
		else
			continue;
		any = true;
	}
	return any;
}

/* Said once; aggjobs.workers and aggjobs.health go on saying it. */
static void
report_unresponsive(const AjSlotView *slot)
{
	ereport(
		WARNING,
		(errmsg(
			 "worker with PID %d does not react to SIGTERM, and run " INT64_FORMAT
			 " goes on",
			 (int) slot->pid, slot->run_id),
		 errhint(
			 "See what it does, for one with gdb or in /proc; only SIGKILL would end it, and with it all sessions of the server.")));
}

/*
 * aj_reap_limits
 *		Press runs that should have stopped; returns when to look again.
 */
TimestampTz
aj_reap_limits(const AjSlotView *slots, int nslots, TimestampTz now)
{
	TimestampTz look_again = DT_NOEND;
	TimestampTz soon = TimestampTzPlusMilliseconds(aj_now(), ESCALATE_EVERY_MS);

	for (int i = 0; i < nslots; i++)
	{
		const AjSlotView *slot = &slots[i];

		if (slot->state == AJ_SLOT_STARTING || slot->state == AJ_SLOT_ENDED)
			look_again = Min(look_again, soon);
		if (slot->state == AJ_SLOT_ENDED || slot->state == AJ_SLOT_STARTING)
			continue;
		if (slot->stop != AJ_STOP_NONE || slot->deadline <= now)
		{
			if (aj_slots_escalate(slot->index, now))
				report_unresponsive(slot);
			look_again = Min(look_again, soon);
		}
		else
			look_again = Min(look_again, slot->deadline);
	}
	return look_again;
}

typedef struct Pruning
{
	int64 job_id;
	int gone; /* runs removed */
} Pruning;

static void
prune_job(void *arg)
{
	Pruning *pruning = arg;
	AjJob *job = aj_job_get(pruning->job_id);
	int keep_successes = aj_keep_successes;
	int keep_failures = aj_keep_failures;

	if (job != NULL && job->keep_successes >= 0)
		keep_successes = job->keep_successes;
	if (job != NULL && job->keep_failures >= 0)
		keep_failures = job->keep_failures;
	pruning->gone = aj_runs_prune(pruning->job_id, keep_successes,
								  keep_failures, PRUNE_ROWS);
}

static void
prune_old(void *arg)
{
	Pruning *pruning = arg;

	pruning->gone = aj_runs_prune_old(aj_keep_age, PRUNE_ROWS);
	aj_backfills_prune(aj_backfill_keep);
}

/*
 * aj_reap_prune
 *		Prune the history of jobs that have had some runs since the last
 *		time, and old runs and backfills once an hour: one batch, and true if
 *		there is more to do.  Called when awake anyway; nothing is done for a
 *		database in which nothing runs.  What somebody has locked is left for
 *		the next time.
 */
bool
aj_reap_prune(TimestampTz now)
{
	Pruning pruning = {0};

	if (nto_prune > 0)
	{
		pruning.job_id = to_prune[nto_prune - 1];
		if (!aj_tx_try("prune the history", prune_job, &pruning) ||
			pruning.gone < PRUNE_ROWS)
			nto_prune--;
	}
	else if (now >= next_prune_old &&
			 (!aj_tx_try("prune the history", prune_old, &pruning) ||
			  pruning.gone < PRUNE_ROWS))
		next_prune_old = TimestampTzPlusMilliseconds(now, PRUNE_OLD_EVERY_MS);
	return nto_prune > 0 || now >= next_prune_old;
}
