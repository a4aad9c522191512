/*-------------------------------------------------------------------------
 *
 * databases.c
 *	  The databases we know, their schedulers, and who waits for them to go.
 *
 * An entry is made by the launcher, or by the session that creates the
 * extension, and goes when the database goes.  Its state says whether the
 * database has the extension and whether its scheduler is at work:
 *
 *		UNKNOWN -> STARTING -> RUNNING -> WANTED (died: started again)
 *							-> ABSENT  (looked: no extension there)
 *		ABSENT -> WANTED (CREATE EXTENSION committed) -> STARTING ...
 *		any -> ABSENT (DROP EXTENSION committed)
 *
 * A hold keeps all our processes out while DDL needs the database or the
 * extension for itself; it is a count, because two such statements may wait
 * for one another.
 *
 * State: AjShared.databases, guarded by AjShared.lock, which every function
 * here takes and gives back.  A full array means LOG and no scheduler for the
 * databases that found no place (aggjobs.max_databases).
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/shmem/databases.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "shmem/databases.h"
#include "utils/timestamp.h"

#define DEATHS_FORGIVEN_AFTER_MS 60000
#define MAX_RESTART_PAUSE_MS 60000
#define FIRST_RESTART_PAUSE_MS 500
#define SWIFT_RESTARTS 5

static AjDatabase *
find(Oid dboid)
{
	AjShared *shared = aj_segment();

	for (int i = 0; i < shared->ndatabases; i++)
		if (shared->databases[i].state != AJ_DATABASE_FREE &&
			shared->databases[i].dboid == dboid)
			return &shared->databases[i];
	return NULL;
}

/* The entry of a database, made if need be; NULL if the array is full. */
static AjDatabase *
find_or_make(Oid dboid)
{
	AjShared *shared = aj_segment();
	AjDatabase *database = find(dboid);

	if (database != NULL)
		return database;
	for (int i = 0; i < shared->ndatabases; i++)
	{
		database = &shared->databases[i];
		if (database->state != AJ_DATABASE_FREE)
			continue;
		memset(database, 0, sizeof(*database));
		database->dboid = dboid;
		database->procno = AJ_NO_PROC;
		database->state = AJ_DATABASE_UNKNOWN;
		return database;
	}
	return NULL;
}

/*
 * aj_launcher_attach
 *		Make this process the launcher that others poke.
 */
void
aj_launcher_attach(void)
{
	AjShared *shared = aj_segment();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher_procno = AJ_MY_PROC_NUMBER;
	shared->launcher_pid = MyProcPid;
	LWLockRelease(shared->lock);
}

/* Has somebody asked the launcher to read pg_database again? */
bool
aj_launcher_take_rescan(void)
{
	AjShared *shared = aj_segment();
	bool rescan;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	rescan = shared->rescan;
	shared->rescan = false;
	LWLockRelease(shared->lock);
	return rescan;
}

/* Wake the launcher, to look at the entries or at pg_database as well. */
void
aj_launcher_poke(bool rescan)
{
	AjShared *shared = aj_segment();
	int procno;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->rescan |= rescan;
	procno = shared->launcher_procno;
	LWLockRelease(shared->lock);
	aj_segment_set_latch(procno);
}

/* Launcher: see to it that a database has an entry; false if none is left. */
bool
aj_databases_note(Oid dboid)
{
	AjShared *shared = aj_segment();
	bool noted;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	noted = find_or_make(dboid) != NULL;
	LWLockRelease(shared->lock);
	return noted;
}

static bool
is_among(Oid dboid, const Oid *oids, int noids)
{
	for (int i = 0; i < noids; i++)
		if (oids[i] == dboid)
			return true;
	return false;
}

/* Has this database no extension, so that no scheduler will look after it? */
static bool
is_absent(Oid dboid)
{
	AjDatabase *database = find(dboid);

	return database == NULL || database->state == AJ_DATABASE_ABSENT;
}

/*
 * aj_databases_forget_missing
 *		Launcher: free what belongs to databases that are not there any more,
 *		and the slots that nobody will free since the extension was dropped.
 */
void
aj_databases_forget_missing(const Oid *present, int npresent)
{
	AjShared *shared = aj_segment();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->ndatabases; i++)
	{
		AjDatabase *database = &shared->databases[i];

		if (database->state != AJ_DATABASE_FREE &&
			database->procno == AJ_NO_PROC && database->holds == 0 &&
			database->state != AJ_DATABASE_STARTING &&
			!is_among(database->dboid, present, npresent))
			database->state = AJ_DATABASE_FREE;
	}
	for (int i = 0; i < shared->nslots; i++)
	{
		AjSlot *slot = &shared->slots[i];

		if (slot->state == AJ_SLOT_ENDED &&
			(!is_among(slot->dboid, present, npresent) ||
			 is_absent(slot->dboid)))
			slot->state = AJ_SLOT_FREE;
	}
	LWLockRelease(shared->lock);
}

/*
 * aj_databases_next_start
 *		Launcher: find a database whose scheduler is to be started now, and
 *		mark it STARTING.
 *
 * False if there is none; *wait_until is then lowered to the time at which
 * one will be due, or one that was asked for should be there.  No pause is
 * longer than the longest, so one that seems to be is over: the clock was set
 * back.
 */
bool
aj_databases_next_start(TimestampTz now, int *index, Oid *dboid,
						TimestampTz *wait_until)
{
	AjShared *shared = aj_segment();
	bool found = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->ndatabases && !found; i++)
	{
		AjDatabase *database = &shared->databases[i];

		if (database->state == AJ_DATABASE_STARTING &&
			database->procno == AJ_NO_PROC)
			*wait_until = Min(*wait_until,
							  TimestampTzPlusMilliseconds(database->started_at,
														  AJ_START_TAKES_MS));
		if ((database->state != AJ_DATABASE_UNKNOWN &&
			 database->state != AJ_DATABASE_WANTED) ||
			database->holds > 0)
			continue;
		if (database->start_after > now &&
			database->start_after <=
				TimestampTzPlusMilliseconds(now, MAX_RESTART_PAUSE_MS))
		{
			*wait_until = Min(*wait_until, database->start_after);
			continue;
		}
		database->state = AJ_DATABASE_STARTING;
		database->started_at = now;
		*index = i;
		*dboid = database->dboid;
		found = true;
	}
	LWLockRelease(shared->lock);
	return found;
}

/* Launcher: the scheduler of this entry could not be started. */
void
aj_databases_start_failed(int index, TimestampTz retry_at)
{
	AjShared *shared = aj_segment();
	AjDatabase *database = &shared->databases[index];

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (database->state == AJ_DATABASE_STARTING &&
		database->procno == AJ_NO_PROC)
	{
		database->state = AJ_DATABASE_WANTED;
		database->start_after = retry_at;
	}
	LWLockRelease(shared->lock);
}

/* Launcher: is this entry still waiting for a process asked for by then? */
bool
aj_databases_is_starting(int index, TimestampTz since)
{
	AjShared *shared = aj_segment();
	AjDatabase *database = &shared->databases[index];
	bool starting;

	LWLockAcquire(shared->lock, LW_SHARED);
	starting = database->state == AJ_DATABASE_STARTING &&
		database->procno == AJ_NO_PROC && database->started_at <= since;
	LWLockRelease(shared->lock);
	return starting;
}

/*
 * aj_databases_attach_scheduler
 *		Scheduler: take the entry that the launcher gave.  False if it is
 *		not wanted any more.
 */
bool
aj_databases_attach_scheduler(int index, Oid *dboid)
{
	AjShared *shared = aj_segment();
	AjDatabase *database = &shared->databases[index];
	bool wanted;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	wanted = database->state == AJ_DATABASE_STARTING &&
		database->procno == AJ_NO_PROC;
	if (wanted && database->holds > 0)
	{
		database->state = AJ_DATABASE_WANTED;
		wanted = false;
	}
	if (wanted)
	{
		database->state = AJ_DATABASE_RUNNING;
		database->procno = AJ_MY_PROC_NUMBER;
		database->pid = MyProcPid;
		database->wake = 0;
		database->nchanged = 0;
		*dboid = database->dboid;
	}
	LWLockRelease(shared->lock);
	return wanted;
}

/*
 * How long the launcher waits before it starts a scheduler that died: hardly
 * at all, unless it dies again and again.
 */
static int64
restart_pause_ms(int deaths)
{
	int64 pause = FIRST_RESTART_PAUSE_MS;

	for (int i = SWIFT_RESTARTS; i < deaths && pause < MAX_RESTART_PAUSE_MS;
		 i++)
		pause *= 2;
	return Min(pause, MAX_RESTART_PAUSE_MS);
}

/*
 * aj_databases_detach_scheduler
 *		Scheduler: leave the entry in state "next"; WANTED after a death, so
 *		that the launcher starts another, the sooner the longer it lived.
 */
void
aj_databases_detach_scheduler(int index, AjDatabaseState next)
{
	AjShared *shared = aj_segment();
	AjDatabase *database = &shared->databases[index];
	TimestampTz now = aj_now();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (database->procno == AJ_MY_PROC_NUMBER && database->pid == MyProcPid)
	{
		bool long_life;

		long_life = TimestampDifferenceExceeds(database->started_at, now,
											   DEATHS_FORGIVEN_AFTER_MS);
		database->procno = AJ_NO_PROC;
		database->pid = 0;
		if (database->look_again)
			database->state = AJ_DATABASE_UNKNOWN;
		else if (database->state == AJ_DATABASE_RUNNING)
			database->state = next;
		database->look_again = false;
		if (database->state == AJ_DATABASE_WANTED && database->holds == 0)
		{
			database->deaths = long_life ? 1 : database->deaths + 1;
			database->start_after =
				TimestampTzPlusMilliseconds(now,
											restart_pause_ms(database->deaths));
		}
	}
	LWLockRelease(shared->lock);
	aj_launcher_poke(false);
}

/* Scheduler: does DDL want us out? */
bool
aj_databases_held(int index)
{
	AjShared *shared = aj_segment();
	AjDatabase *database = &shared->databases[index];
	bool held;

	LWLockAcquire(shared->lock, LW_SHARED);
	held = database->holds > 0 || database->state != AJ_DATABASE_RUNNING;
	LWLockRelease(shared->lock);
	return held;
}

/*
 * aj_databases_take_wake
 *		Scheduler: what it was woken for, forgotten at once.  "jobs" has room
 *		for AJ_CHANGED_JOBS ids.
 */
uint32
aj_databases_take_wake(int index, int64 *jobs, int *njobs)
{
	AjShared *shared = aj_segment();
	AjDatabase *database = &shared->databases[index];
	uint32 wake;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	wake = database->wake;
	*njobs = database->nchanged;
	memcpy(jobs, database->changed_jobs,
		   sizeof(int64) * (Size) database->nchanged);
	database->wake = 0;
	database->nchanged = 0;
	LWLockRelease(shared->lock);
	return wake;
}

/* Note a changed job; more than fit means reading all of them. */
static void
add_changed_job(AjDatabase *database, int64 job_id)
{
	for (int i = 0; i < database->nchanged; i++)
		if (database->changed_jobs[i] == job_id)
			return;
	if (database->nchanged == AJ_CHANGED_JOBS)
		database->wake |= AJ_WAKE_ALL_JOBS;
	else
		database->changed_jobs[database->nchanged++] = job_id;
}

/*
 * aj_databases_post
 *		Wake the scheduler of a database, if it has one: a scheduler that is
 *		yet to start reads everything anyway.  "job_id" goes with
 *		AJ_WAKE_JOBS.
 */
void
aj_databases_post(Oid dboid, uint32 wake, int64 job_id)
{
	AjShared *shared = aj_segment();
	AjDatabase *database;
	int procno = AJ_NO_PROC;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	database = find(dboid);
	if (database != NULL)
	{
		database->wake |= wake;
		if (wake & AJ_WAKE_JOBS)
			add_changed_job(database, job_id);
		procno = database->procno;
	}
	LWLockRelease(shared->lock);
	aj_segment_set_latch(procno);
}

/*
 * What ended workers have left to say belongs to the tables that went with the
 * extension; in those of a new one their run ids mean other runs.
 */
static void
free_ended_slots(Oid dboid)
{
	AjShared *shared = aj_segment();

	for (int i = 0; i < shared->nslots; i++)
		if (shared->slots[i].state == AJ_SLOT_ENDED &&
			shared->slots[i].dboid == dboid)
			shared->slots[i].state = AJ_SLOT_FREE;
}

/*
 * aj_databases_set_extension
 *		CREATE or DROP EXTENSION has committed in a database.
 */
void
aj_databases_set_extension(Oid dboid, bool present)
{
	AjShared *shared = aj_segment();
	AjDatabase *database;
	bool full;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	database = find_or_make(dboid);
	full = database == NULL;
	free_ended_slots(dboid);
	if (!full && !present)
		database->state = AJ_DATABASE_ABSENT;
	else if (!full && database->procno != AJ_NO_PROC)
		database->look_again = true;
	else if (!full)
	{
		database->state = AJ_DATABASE_WANTED;
		database->start_after = 0;
		database->deaths = 0;
	}
	LWLockRelease(shared->lock);
	if (full)
		ereport(
			LOG,
			(errmsg(
				 "no scheduler for database %u: aggjobs.max_databases is reached",
				 dboid),
			 errhint("Raise aggjobs.max_databases and restart the server.")));
	aj_launcher_poke(!present);
}

/* Is a scheduler at work, or about to be, in this database? */
bool
aj_databases_has_scheduler(Oid dboid)
{
	AjShared *shared = aj_segment();
	AjDatabase *database;
	bool has;

	LWLockAcquire(shared->lock, LW_SHARED);
	database = find(dboid);
	has = database != NULL && database->state == AJ_DATABASE_RUNNING;
	LWLockRelease(shared->lock);
	return has;
}

/*
 * The same without the lock, for handlers of signals; right or wrong only if
 * the scheduler comes or goes at that moment.
 */
bool
aj_databases_scheduler_seems_alive(Oid dboid)
{
	AjShared *shared = aj_segment();

	for (int i = 0; i < shared->ndatabases; i++)
		if (shared->databases[i].dboid == dboid)
			return shared->databases[i].state == AJ_DATABASE_RUNNING;
	return false;
}

/*
 * aj_databases_hold, aj_databases_release
 *		Ask our processes out of a database, and let them back in.  Each hold
 *		needs its release.
 */
void
aj_databases_hold(Oid dboid)
{
	AjShared *shared = aj_segment();
	AjDatabase *database;
	int procno = AJ_NO_PROC;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	database = find_or_make(dboid);
	if (database != NULL)
	{
		database->holds++;
		procno = database->procno;
	}
	LWLockRelease(shared->lock);
	aj_segment_set_latch(procno);
}

void
aj_databases_release(Oid dboid)
{
	AjShared *shared = aj_segment();
	AjDatabase *database;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	database = find(dboid);
	if (database != NULL && database->holds > 0)
		database->holds--;
	/* Before the lock goes: a template must be forgotten, not started in. */
	shared->rescan = true;
	LWLockRelease(shared->lock);
	aj_launcher_poke(true);
}

/* Have all our processes left this database? */
bool
aj_databases_is_empty(Oid dboid)
{
	AjShared *shared = aj_segment();
	AjDatabase *database;
	bool empty;

	LWLockAcquire(shared->lock, LW_SHARED);
	database = find(dboid);
	empty = database == NULL || database->procno == AJ_NO_PROC;
	for (int i = 0; i < shared->nslots && empty; i++)
	{
		AjSlot *slot = &shared->slots[i];

		empty = slot->state == AJ_SLOT_FREE || slot->state == AJ_SLOT_ENDED ||
			slot->dboid != dboid;
	}
	LWLockRelease(shared->lock);
	return empty;
}
