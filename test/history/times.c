/*-------------------------------------------------------------------------
 *
 * times.c
 *	  The times of rows: where the horizon passes, and the types of time.
 *
 * A history lasts less than a second, so buckets are some milliseconds wide
 * and the horizon passes many of them while the writers are at work.  Most
 * rows are written where it is just now, just was, or soon will be.  Dates
 * are different: today is the only open bucket, and stays it.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/times.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <time.h>

#include "history.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

/* The oldest rows are that old; see the bounds of partitions in parts.c. */
#define FAR_PAST (6 * SECOND)

/* An instant as a constant of the time column's type, for use in SQL. */
void
append_instant(PQExpBuffer to, const World *world, int64_t us)
{
	static const char *const types[] = {
		[TIME_TIMESTAMPTZ] = "timestamptz",
		[TIME_TIMESTAMP] = "timestamp",
		[TIME_DATE] = "date",
	};
	time_t seconds = us / SECOND;
	struct tm tm;
	char text[40];

	if (world->type == TIME_BIGINT)
	{
		appendPQExpBuffer(to, "%lld", (long long) (us / 1000));
		return;
	}
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text),
			 world->type == TIME_DATE ? "%Y-%m-%d" : "%Y-%m-%d %H:%M:%S", &tm);
	appendPQExpBuffer(to, "%s '%s", types[world->type], text);
	if (world->type != TIME_DATE)
		appendPQExpBuffer(to, ".%06d", (int) (us % SECOND));
	appendPQExpBufferStr(to, world->type == TIME_TIMESTAMPTZ ? "+00'" : "'");
}

/* The same as COPY wants it. */
static void
append_copied(PQExpBuffer to, const World *world, int64_t us)
{
	PQExpBuffer sql = createPQExpBuffer();
	char *first, *last;

	append_instant(sql, world, us);
	first = strchr(sql->data, '\'');
	last = strrchr(sql->data, '\'');
	if (first == NULL)
		appendPQExpBufferStr(to, sql->data);
	else
		appendBinaryPQExpBuffer(to, first + 1, last - first - 1);
	destroyPQExpBuffer(sql);
}

/* The server's clock, as the time column's type. */
void
append_now(PQExpBuffer to, const World *world)
{
	static const char *const texts[] = {
		[TIME_TIMESTAMPTZ] = "clock_timestamp()",
		[TIME_TIMESTAMP] = "(clock_timestamp() AT TIME ZONE 'UTC')",
		[TIME_DATE] = "(clock_timestamp() AT TIME ZONE 'UTC')::date",
		[TIME_BIGINT] =
			"(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
	};

	appendPQExpBufferStr(to, texts[world->type]);
}

/* "from" moved by so many times the distance. */
void
append_moved(PQExpBuffer to, const World *world, const char *from,
			 const char *times, int64_t us)
{
	if (world->type == TIME_BIGINT)
		appendPQExpBuffer(to, "%s + %s * %lld", from, times,
						  (long long) (us / 1000));
	else if (world->type == TIME_DATE)
		appendPQExpBuffer(to, "%s + (%s * %lld)::integer", from, times,
						  (long long) (us / DAY));
	else
		appendPQExpBuffer(to, "%s + %s * interval '%lld microseconds'", from,
						  times, (long long) us);
}

/* How far something moves; whole days where time is dates. */
int64_t
random_distance(Session *session)
{
	const World *world = session->world;
	Random *random = &session->random;
	int64_t width = world->width * 1000;
	int64_t far;

	if (world->type == TIME_DATE)
		return (below(random, 9) - 4) * DAY;
	far = chance(random, 20) ? FAR_PAST : 4 * width;
	return below(random, (int) (2 * far)) - far;
}

/* An instant for a new row. */
static int64_t
random_instant(Session *session, int kind)
{
	const World *world = session->world;
	Random *random = &session->random;
	int64_t now = now_us();
	int64_t width = world->width * 1000;
	int64_t us;

	if (world->type == TIME_DATE)
		return now -
			(kind < 45 ? 0 : below(random, kind < 90 ? 40 : 4) - 2) * DAY;
	if (kind < 40)
		return now;
	if (kind < 60)
		return now - below(random, (int) (10 * width));
	if (kind < 78)
		return now - below(random, FAR_PAST);
	if (kind < 92)
		return now + below(random, (int) (8 * width));

	/* where a bucket begins, or the last instant before */
	us = now - below(random, FAR_PAST);
	us -= us % width;
	return chance(random, 50) ? us
							  : us - (world->type == TIME_BIGINT ? 1000 : 1);
}

/* The time of a new row, in SQL or for COPY. */
void
append_time(PQExpBuffer to, Session *session, bool copied)
{
	int kind = below(&session->random, 100);

	if (copied)
		append_copied(to, session->world, random_instant(session, kind));
	else if (kind < 40)
		append_now(to, session->world);
	else
		append_instant(to, session->world, random_instant(session, kind));
}
