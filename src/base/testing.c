/*-------------------------------------------------------------------------
 *
 * testing.c
 *	  The virtual clock and the fault points of a test build.
 *
 * The clock can be shifted, or stand still at an instant; base/clock.c asks
 * here.  A fault point is a place that has a name: what kind of process it is
 * in, when it is, and what is being done, such as "worker before commit: start
 * a run".  A test arms a name, or the begin of one with "*" behind it, with
 * what is to happen there.
 *
 * State: AjTesting, in shared memory, guarded by its spinlock; a crash of the
 * server makes it anew: the real clock, and nothing armed.  A process that
 * waits at a point can be cancelled and ended as anywhere else.
 *
 * A release build has none of it.  How to use it: doc/dev/faults.md
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/testing.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/testing.h"

#ifdef AGGJOBS_TESTING

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/timestamp.h"

#define TYPE_PREFIX "pg_aggjobs "

AjTesting *aj_testing = NULL;

/* Take this part of shared memory into use. */
void
aj_testing_init(AjTesting *testing, bool found)
{
	if (!found)
	{
		memset(testing, 0, sizeof(*testing));
		SpinLockInit(&testing->mutex);
		pg_atomic_init_u32(&testing->narmed, 0);
		ConditionVariableInit(&testing->released);
	}
	aj_testing = testing;
}

/* "instant" is a distance for AJ_CLOCK_SHIFTED, in microseconds. */
void
aj_testing_set_clock(AjClockMode mode, int64 instant)
{
	SpinLockAcquire(&aj_testing->mutex);
	aj_testing->clock_mode = mode;
	aj_testing->instant = instant;
	SpinLockRelease(&aj_testing->mutex);
}

/* What the virtual clock shows when the real one shows "real". */
TimestampTz
aj_testing_now(TimestampTz real)
{
	TimestampTz now = real;

	if (aj_testing == NULL)
		return real;
	SpinLockAcquire(&aj_testing->mutex);
	if (aj_testing->clock_mode == AJ_CLOCK_SHIFTED)
		now = real + aj_testing->instant;
	else if (aj_testing->clock_mode == AJ_CLOCK_STANDING)
		now = aj_testing->instant;
	SpinLockRelease(&aj_testing->mutex);
	return now;
}

bool
aj_testing_clock_stands(void)
{
	bool stands;

	if (aj_testing == NULL)
		return false;
	SpinLockAcquire(&aj_testing->mutex);
	stands = aj_testing->clock_mode == AJ_CLOCK_STANDING;
	SpinLockRelease(&aj_testing->mutex);
	return stands;
}

/* The entry of a pattern, or NULL; the spinlock is held. */
static AjFaultPoint *
find(const char *pattern)
{
	for (int i = 0; i < AJ_FAULT_POINTS; i++)
		if (strcmp(aj_testing->points[i].pattern, pattern) == 0)
			return &aj_testing->points[i];
	return NULL;
}

/*
 * aj_fault_arm
 *		Let "action" happen at the points that the pattern names, after "skip"
 *		times and then so many times, or always if "times" is below 0.
 */
void
aj_fault_arm(const char *pattern, AjFaultAction action, int skip, int times)
{
	AjFaultPoint *point;

	SpinLockAcquire(&aj_testing->mutex);
	point = find(pattern);
	if (point == NULL)
		point = find("");
	if (point != NULL)
	{
		memset(point, 0, sizeof(*point));
		strlcpy(point->pattern, pattern, sizeof(point->pattern));
		point->action = action;
		point->skip = skip;
		point->left = times;
		pg_atomic_fetch_add_u32(&aj_testing->narmed, 1);
	}
	SpinLockRelease(&aj_testing->mutex);
	if (point == NULL)
		elog(ERROR, "more than %d fault points", AJ_FAULT_POINTS);
}

/* Disarm a pattern, and let those go on that wait at its points. */
void
aj_fault_release(const char *pattern)
{
	AjFaultPoint *point;

	SpinLockAcquire(&aj_testing->mutex);
	point = find(pattern);
	if (point != NULL)
		memset(point, 0, sizeof(*point));
	SpinLockRelease(&aj_testing->mutex);
	ConditionVariableBroadcast(&aj_testing->released);
}

/* How a pattern stands; zeroes if it is not armed. */
AjFaultPoint
aj_fault_look(const char *pattern)
{
	AjFaultPoint copy = {{0}};
	AjFaultPoint *point;

	SpinLockAcquire(&aj_testing->mutex);
	point = find(pattern);
	if (point != NULL)
		copy = *point;
	SpinLockRelease(&aj_testing->mutex);
	return copy;
}

static bool
matches(const char *pattern, const char *name)
{
	size_t length = strlen(pattern);

	if (length > 0 && pattern[length - 1] == '*')
		return strncmp(pattern, name, length - 1) == 0;
	return length > 0 && strcmp(pattern, name) == 0;
}

static const char *
process_kind(void)
{
	if (MyBgworkerEntry == NULL)
		return "session";
	if (strncmp(MyBgworkerEntry->bgw_type, TYPE_PREFIX, strlen(TYPE_PREFIX)) ==
		0)
		return MyBgworkerEntry->bgw_type + strlen(TYPE_PREFIX);
	return "other";
}

/* What is to happen here; *pattern is the one that says so. */
static AjFaultAction
hit(const char *name, char *pattern)
{
	AjFaultAction action = AJ_FAULT_COUNT;

	SpinLockAcquire(&aj_testing->mutex);
	for (int i = 0; i < AJ_FAULT_POINTS; i++)
	{
		AjFaultPoint *point = &aj_testing->points[i];

		if (!matches(point->pattern, name))
			continue;
		point->hits++;
		if (point->hits <= point->skip || point->left == 0)
			continue;
		if (point->left > 0)
			point->left--;
		action = point->action;
		strcpy(pattern, point->pattern);
	}
	SpinLockRelease(&aj_testing->mutex);
	return action;
}

static void
count_waiting(const char *pattern, int change)
{
	AjFaultPoint *point;

	SpinLockAcquire(&aj_testing->mutex);
	point = find(pattern);
	if (point != NULL)
		point->waiting += change;
	SpinLockRelease(&aj_testing->mutex);
}

static void
wait_here(const char *pattern)
{
	count_waiting(pattern, 1);
	PG_TRY();
	{
		ConditionVariablePrepareToSleep(&aj_testing->released);
		while (aj_fault_look(pattern).action == AJ_FAULT_WAIT)
			ConditionVariableSleep(&aj_testing->released, PG_WAIT_EXTENSION);
		ConditionVariableCancelSleep();
	}
	PG_FINALLY();
	{
		count_waiting(pattern, -1);
	}
	PG_END_TRY();
}

/*
 * aj_fault_reached
 *		A process is at a point: do there what a test has armed it with.
 */
void
aj_fault_reached(const char *when, const char *what)
{
	static const int levels[] = {
		[AJ_FAULT_ERROR] = ERROR,
		[AJ_FAULT_FATAL] = FATAL,
		[AJ_FAULT_PANIC] = PANIC,
	};
	char name[AJ_FAULT_NAME_SIZE];
	char pattern[AJ_FAULT_NAME_SIZE];
	AjFaultAction action;

	if (aj_testing == NULL || pg_atomic_read_u32(&aj_testing->narmed) == 0)
		return;
	snprintf(name, sizeof(name), "%s %s: %s", process_kind(), when,
			 what == NULL ? "" : what);
	action = hit(name, pattern);
	if (action == AJ_FAULT_WAIT)
		wait_here(pattern);
	else if (action != AJ_FAULT_COUNT)
		elog(levels[action], "fault point \"%s\"", name);
}

#endif /* AGGJOBS_TESTING */
