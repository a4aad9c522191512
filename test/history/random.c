/*-------------------------------------------------------------------------
 *
 * random.c
 *	  Numbers that depend on the seed alone, and the clock.
 *
 * Each session of a history draws from a stream of its own, so that what one
 * session does depends little on how fast the others are.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/random.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <time.h>

#include "history.h"

/* splitmix64: any state is a good one. */
static uint64_t
next(Random *random)
{
	uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

void
random_start(Random *random, uint64_t seed, uint64_t stream)
{
	random->state = seed;
	random->state = next(random) ^ (stream * UINT64_C(0xd6e8feb86659fd93));
	(void) next(random);
}

/* A number from 0 to n - 1. */
int
below(Random *random, int n)
{
	return (int) ((next(random) >> 33) % (uint64_t) n);
}

bool
chance(Random *random, int percent)
{
	return below(random, 100) < percent;
}

/* Microseconds since 1970. */
int64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
