/*
 * testing.h
 *	  The virtual clock and the fault points of a test build.
 *
 * In a release build there is nothing of it: AJ_FAULT_POINT() is empty, and
 * testing.c has no code.
 */
#ifndef AJ_BASE_TESTING_H
#define AJ_BASE_TESTING_H

#include "base/compat.h"

#ifdef AGGJOBS_TESTING

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"

#define AJ_FAULT_POINTS 16
#define AJ_FAULT_NAME_SIZE 160

typedef enum AjFaultAction
{
	AJ_FAULT_COUNT, /* nothing happens */
	AJ_FAULT_WAIT,	/* until it is released */
	AJ_FAULT_ERROR,
	AJ_FAULT_FATAL,
	AJ_FAULT_PANIC
} AjFaultAction;

typedef struct AjFaultPoint
{
	char pattern[AJ_FAULT_NAME_SIZE]; /* "" while not in use */
	AjFaultAction action;
	int skip; /* so many times nothing happens */
	int left; /* so many times it happens then; -1: always */
	int hits;
	int waiting;
} AjFaultPoint;

typedef enum AjClockMode
{
	AJ_CLOCK_REAL,
	AJ_CLOCK_SHIFTED, /* the real time and "instant" */
	AJ_CLOCK_STANDING /* at "instant" */
} AjClockMode;

typedef struct AjTesting
{
	slock_t mutex; /* guards all but the atomic, and what guards itself */
	AjClockMode clock_mode;
	int64 instant;
	AjFaultPoint points[AJ_FAULT_POINTS];
	pg_atomic_uint32 narmed; /* so that points cost nothing mostly */
	ConditionVariable released;
} AjTesting;

/* In shared memory; NULL where the library is not preloaded. */
extern AjTesting *aj_testing;

extern void aj_testing_init(AjTesting *testing, bool found);
extern void aj_testing_set_clock(AjClockMode mode, int64 instant);
extern TimestampTz aj_testing_now(TimestampTz real);
extern bool aj_testing_clock_stands(void);
extern void aj_fault_arm(const char *pattern, AjFaultAction action, int skip,
						 int times);
extern void aj_fault_release(const char *pattern);
extern AjFaultPoint aj_fault_look(const char *pattern);
extern void aj_fault_reached(const char *when, const char *what);

#define AJ_FAULT_POINT(when, what) aj_fault_reached((when), (what))

#else

#define AJ_FAULT_POINT(when, what) ((void) (what))

#endif /* AGGJOBS_TESTING */

#endif /* AJ_BASE_TESTING_H */
