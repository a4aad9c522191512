/*
 * backoff.h
 *	  How long to wait before another attempt.
 */
#ifndef AJ_TIME_BACKOFF_H
#define AJ_TIME_BACKOFF_H

#include "base/compat.h"

extern int64 aj_backoff_ms(int failures, int64 first_ms, int64 longest_ms,
						   double random);

#endif /* AJ_TIME_BACKOFF_H */
