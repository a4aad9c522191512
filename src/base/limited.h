/*
 * limited.h
 *	  Work that may be given up when it takes too long, and limits of waits for
 *	  locks.
 */
#ifndef AJ_BASE_LIMITED_H
#define AJ_BASE_LIMITED_H

#include "base/compat.h"

/* In milliseconds; 0: no limit but those of the session. */
typedef struct AjLimits
{
	int lock; /* the wait for each lock */
	int time; /* all of the work */
} AjLimits;

typedef enum AjLimited
{
	AJ_LIMITED_DONE,
	AJ_LIMITED_LOCKED, /* others hold a lock that it needs */
	AJ_LIMITED_LATE	   /* it was not done in time */
} AjLimited;

extern void aj_set_lock_timeout(int milliseconds);
extern int aj_limit_lock_waits(int milliseconds);
extern AjLimited aj_limited(const AjLimits *limits, void (*work)(void *arg),
							void *arg);

#endif /* AJ_BASE_LIMITED_H */
