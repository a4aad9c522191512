/*-------------------------------------------------------------------------
 *
 * due.c
 *	  The scheduler's jobs, by due time, and the recording of due slots.
 *
 * The table is the truth and the heap a copy: after an error or a restart it
 * is built again.  The slot after a slot is computed from that slot, not from
 * now, so a schedule does not drift, and a clock that is set back repeats no
 * slot; what becomes of slots that passed is up to process/catch_up.c.  A slot
 * that was planned by rules of its time zone that have been replaced since is
 * planned anew when it is loaded.
 *
 * The heap is the server's pairing heap; ties go to the older job.
 *
 * State: private to the scheduler, in the context given to aj_due_reset().
 * No locks.  A job whose schedule can't be read is logged and left out; it
 * never stops the others.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/due.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/spi.h"
#include "base/tx.h"
#include "catalog/fire.h"
#include "catalog/job.h"
#include "catalog/run.h"
#include "catalog/setting.h"
#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "process/catch_up.h"
#include "process/due.h"
#include "shmem/slots.h"
#include "time/next_slot.h"
#include "time/schedule.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#define MAX_FIRED 500		/* jobs in one statement */
#define MAX_FIRED_ROWS 5000 /* and their slots, about */
#define RETRY_MS 1000

typedef struct DueJob
{
	int64 job_id; /* hash key */
	bool planned; /* in the heap */
	pairingheap_node node;
	TimestampTz next_slot;
	TimestampTz due_at; /* next_slot, or later if it could not be recorded */
	AjSchedule schedule;
	pg_tz *zone;
	AjCatchUp catch_up;
	int catch_up_limit;
	bool has_deadline;
	Interval start_deadline;
} DueJob;

static HTAB *jobs = NULL;
static pairingheap *heap = NULL;

static int
compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const DueJob *x = pairingheap_const_container(DueJob, node, a);
	const DueJob *y = pairingheap_const_container(DueJob, node, b);

	if (x->due_at != y->due_at)
		return x->due_at < y->due_at ? 1 : -1;
	return x->job_id < y->job_id ? 1 : -1;
}

/* Forget all jobs; what is loaded from now on lives in "context". */
void
aj_due_reset(MemoryContext context)
{
	HASHCTL control = {0};
	MemoryContext saved;

	MemoryContextReset(context);
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(DueJob);
	control.hcxt = context;
	jobs = hash_create("pg_aggjobs jobs", 256, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	saved = MemoryContextSwitchTo(context);
	heap = pairingheap_allocate(compare_due, NULL);
	MemoryContextSwitchTo(saved);
}

static void
unplan(DueJob *job)
{
	if (job->planned)
		pairingheap_remove(heap, &job->node);
	job->planned = false;
}

static void
plan_at(DueJob *job, TimestampTz slot)
{
	unplan(job);
	job->next_slot = slot;
	job->due_at = slot;
	if (slot == AJ_NO_TIME)
		return;
	pairingheap_add(heap, &job->node);
	job->planned = true;
}

static void
forget(int64 job_id)
{
	DueJob *job = hash_search(jobs, &job_id, HASH_FIND, NULL);

	if (job == NULL)
		return;
	unplan(job);
	(void) hash_search(jobs, &job_id, HASH_REMOVE, NULL);
}

/* Read the schedule of a plan; false, with a log line, if it is no good. */
static bool
read_schedule(const AjJobPlan *plan, AjSchedule *schedule, pg_tz **zone)
{
	AjScheduleError error;
	char *text = aj_setting_try_expand(plan->schedule);

	if (text == NULL)
	{
		ereport(
			LOG,
			(errmsg(
				"job " INT64_FORMAT
				" is not scheduled: its schedule \"%s\" uses an unknown setting",
				plan->job_id, aj_clip(plan->schedule))));
		return false;
	}
	*zone = pg_tzset(plan->time_zone);
	if (*zone != NULL && aj_schedule_parse(text, schedule, &error))
		return true;
	ereport(
		LOG,
		(errmsg(
			"job " INT64_FORMAT
			" is not scheduled: schedule \"%s\" in time zone \"%s\" can't be read",
			plan->job_id, aj_clip(text), aj_clip(plan->time_zone))));
	return false;
}

/* The slot to plan for a job that has none in the table. */
static TimestampTz
first_slot(const AjJobPlan *plan, const AjSchedule *schedule, pg_tz *zone)
{
	TimestampTz now = aj_now();
	TimestampTz next;

	if (schedule->kind == AJ_SCHEDULE_START)
		return plan->known_since < PgStartTime ? PgStartTime : AJ_NO_TIME;
	if (schedule->kind == AJ_SCHEDULE_AFTER && plan->running)
		return AJ_NO_TIME;
	if (schedule->kind == AJ_SCHEDULE_AFTER)
	{
		if (plan->last_ended_at == AJ_NO_TIME)
			return now;
		if (!aj_next_slot(schedule, zone, plan->last_ended_at, &next))
			return AJ_NO_TIME;
		return Max(next, now);
	}
	if (schedule->kind == AJ_SCHEDULE_AT ||
		!aj_next_slot(schedule, zone, now, &next))
		return AJ_NO_TIME;
	return next;
}

/*
 * The planned slot as the rules of its zone are now: where these were changed
 * since it was planned, it may not be one any more.  Only slots of calendars
 * and clocks depend on rules; a zone moves by a day at most.
 */
static TimestampTz
slot_by_new_rules(const AjJobPlan *plan, const AjSchedule *schedule,
				  pg_tz *zone)
{
	TimestampTz planned = plan->next_slot;
	TimestampTz after;
	TimestampTz next;
	char *before;

	if (schedule->kind != AJ_SCHEDULE_CRON || TIMESTAMP_NOT_FINITE(planned) ||
		(aj_next_slot(schedule, zone, planned - 1, &next) && next == planned))
		return planned;
	after = Min(planned, aj_now()) - 2 * USECS_PER_DAY;
	if (!aj_next_slot(schedule, zone, Max(after, plan->known_since), &next) ||
		!aj_job_replan(plan->job_id, planned, next))
		return planned;
	before = pstrdup(timestamptz_to_str(planned));
	ereport(LOG,
			(errmsg("the next slot of job " INT64_FORMAT
					" is %s, no longer %s, by the rules of time zone \"%s\"",
					plan->job_id, timestamptz_to_str(next), before,
					aj_clip(plan->time_zone))));
	return next;
}

static void
load_plan(const AjJobPlan *plan)
{
	DueJob *job;
	AjSchedule schedule;
	pg_tz *zone;
	TimestampTz slot = plan->next_slot;

	if (!read_schedule(plan, &schedule, &zone))
		return;
	if (slot == AJ_NO_TIME)
	{
		slot = first_slot(plan, &schedule, zone);
		if (slot != AJ_NO_TIME)
			(void) aj_job_replan(plan->job_id, AJ_NO_TIME, slot);
	}
	else
		slot = slot_by_new_rules(plan, &schedule, zone);
	job = hash_search(jobs, &plan->job_id, HASH_ENTER, NULL);
	job->planned = false;
	job->schedule = schedule;
	job->zone = zone;
	job->catch_up = plan->catch_up;
	job->catch_up_limit = plan->catch_up_limit;
	job->has_deadline = plan->start_deadline != NULL;
	if (job->has_deadline)
		job->start_deadline = *plan->start_deadline;
	plan_at(job, slot);
}

/*
 * aj_due_load
 *		Read these jobs again from the table, or all if "job_ids" is NULL.
 */
void
aj_due_load(const int64 *job_ids, int njobs)
{
	AjJobPlan *plans;
	int n;

	if (job_ids != NULL && njobs == 0)
		return;
	aj_tx_begin("load jobs");
	plans = aj_job_plans(job_ids, njobs, &n, CurrentMemoryContext);
	for (int i = 0; i < njobs && job_ids != NULL; i++)
		forget(job_ids[i]);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		load_plan(&plans[i]);
	}
	aj_tx_commit();
}

/* When the first job is due; DT_NOEND if none is planned. */
TimestampTz
aj_due_next(void)
{
	if (pairingheap_is_empty(heap))
		return DT_NOEND;
	return pairingheap_container(DueJob, node, pairingheap_first(heap))->due_at;
}

static int
collect_due(TimestampTz now, AjFiredJob *fired, DueJob **due)
{
	int n = 0;
	int nrows = 0;

	while (n < MAX_FIRED && nrows < MAX_FIRED_ROWS && aj_due_next() <= now)
	{
		DueJob *job =
			pairingheap_container(DueJob, node, pairingheap_first(heap));
		AjDueSlots slots = {
			.schedule = &job->schedule,
			.zone = job->zone,
			.catch_up = job->catch_up,
			.limit = job->catch_up_limit,
			.deadline = job->has_deadline ? &job->start_deadline : NULL,
		};

		CHECK_FOR_INTERRUPTS();
		unplan(job);
		due[n] = job;
		fired[n].job_id = job->job_id;
		fired[n].slot = job->next_slot;
		aj_catch_up(&slots, now, &fired[n]);
		nrows += fired[n].nrows;
		n++;
	}
	return n;
}

/* A slot takes the place of what its job still does. */
static void
replace(void *arg)
{
	const AjFiredJob *fired = arg;
	int64 running = aj_runs_replace(fired->job_id, fired->last_slot);

	if (running != 0 &&
		!aj_slots_stop_run(MyDatabaseId, running, AJ_STOP_CANCEL,
						   "replaced by a later slot"))
		(void) aj_run_cancel_session(running);
}

static bool
is_run(const AjFiredJob *fired)
{
	return fired->rows[fired->nrows - 1].fate != AJ_FATE_MISSED;
}

/*
 * A slot could not be recorded because its job has been changed, or is about
 * to be by a transaction that is still open: look again in a while.
 */
static void
try_again_later(int64 job_id)
{
	DueJob *job;
	TimestampTz later = TimestampTzPlusMilliseconds(aj_now(), RETRY_MS);

	aj_due_load(&job_id, 1);
	job = hash_search(jobs, &job_id, HASH_FIND, NULL);
	if (job == NULL || !job->planned || job->due_at >= later)
		return;
	unplan(job);
	job->due_at = later;
	pairingheap_add(heap, &job->node);
	job->planned = true;
}

/*
 * aj_due_fire
 *		Record the slots that are due; false if there was none.
 */
bool
aj_due_fire(TimestampTz now)
{
	AjFiredJob *fired;
	DueJob **due;
	int n;

	if (aj_due_next() > now)
		return false;
	fired = palloc(sizeof(AjFiredJob) * MAX_FIRED);
	due = palloc(sizeof(DueJob *) * MAX_FIRED);
	n = collect_due(now, fired, due);

	aj_tx_begin("record slots");
	aj_runs_fire(fired, n);
	aj_tx_commit();

	for (int i = 0; i < n; i++)
	{
		if (!fired[i].claimed)
		{
			try_again_later(fired[i].job_id);
			continue;
		}
		plan_at(due[i], fired[i].next_slot);
		if (fired[i].is_running && is_run(&fired[i]))
			(void) aj_tx_try("replace a run", replace, &fired[i]);
	}
	return true;
}

/*
 * aj_due_job_ended
 *		A run of this job is over; a schedule that counts from there gets its
 *		next slot.
 */
void
aj_due_job_ended(int64 job_id, TimestampTz ended_at)
{
	DueJob *job = hash_search(jobs, &job_id, HASH_FIND, NULL);
	TimestampTz next;
	bool planned;

	if (job == NULL || job->schedule.kind != AJ_SCHEDULE_AFTER ||
		!aj_next_slot(&job->schedule, job->zone, ended_at, &next))
		return;
	aj_tx_begin("plan the next slot");
	planned = aj_job_replan(job_id, job->next_slot, next);
	aj_tx_commit();
	if (planned)
		plan_at(job, next);
	else
		aj_due_load(&job_id, 1);
}
