/*-------------------------------------------------------------------------
 *
 * rollups.c
 *	  The rollups of a world, and the queries that say whether they are right.
 *
 * r1 reads the raw table, r2 reads r1, r3 reads r2; r4 reads the raw table,
 * too, with conditions.  For each there is the query that the extension gets
 * and the same on nothing but raw rows, where what is a rollup in the first
 * is a subquery.
 *
 * Rollups get other queries while all this goes on, with the same columns, and
 * maybe one more that nobody looks at.
 *
 * Two checks for each rollup, both in one snapshot: the live view equals the
 * raw answer; and so does the target in each bucket that is below the horizon
 * and not marked as stale or changed, in the rollup or in those below it.  The
 * latter is asked only where the snapshot sees the table that there is now.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/rollups.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "history.h"

/* What date_trunc takes in place of a multiple of the width. */
static const char *
unit_of(int multiple)
{
	return multiple == 1 ? "second" : multiple < 10 ? "minute" : "hour";
}

static void
append_width(PQExpBuffer to, const World *world, int multiple)
{
	if (world->buckets == BY_DATE_TRUNC)
		appendPQExpBuffer(to, "interval '1 %s'", unit_of(multiple));
	else
		appendPQExpBuffer(to, "interval '%d %s'", world->width * multiple,
						  world->type == TIME_DATE ? "days" : "milliseconds");
}

/* The bucket of a column, as a user writes it. */
void
append_bucket(PQExpBuffer to, const World *world, int multiple,
			  const char *column)
{
	bool zoned = world->type == TIME_TIMESTAMPTZ;

	if (world->type == TIME_BIGINT)
		appendPQExpBuffer(to, "aggjobs_bucket(%d, %s)", world->width * multiple,
						  column);
	else if (world->buckets == BY_DATE_TRUNC)
		appendPQExpBuffer(to, "date_trunc('%s', %s%s)", unit_of(multiple),
						  column, zoned ? ", 'UTC'" : "");
	else
	{
		appendPQExpBufferStr(to,
							 world->buckets == BY_DATE_BIN ? "date_bin("
														   : "aggjobs_bucket(");
		append_width(to, world, multiple);
		appendPQExpBuffer(to, ", %s", column);
		if (world->buckets == BY_DATE_BIN)
			appendPQExpBufferStr(to,
								 zoned
									 ? ", timestamptz '2000-01-01 00:00:00+00'"
									 : ", timestamp '2000-01-01'");
		appendPQExpBufferStr(to, ")");
	}
}

/* Begin and end of a bucket as timestamptz. */
static void
append_bucket_range(PQExpBuffer to, const World *world, int multiple)
{
	static const char *const begins[] = {
		[TIME_TIMESTAMPTZ] = "bucket",
		[TIME_TIMESTAMP] = "(bucket AT TIME ZONE 'UTC')",
		[TIME_DATE] = "(bucket::timestamp AT TIME ZONE 'UTC')",
		[TIME_BIGINT] = "to_timestamp(bucket / 1000.0)",
	};

	appendPQExpBuffer(to, "%s AS begins, %s + ", begins[world->type],
					  begins[world->type]);
	append_width(to, world, multiple);
	appendPQExpBufferStr(to, " AS ends");
}

/*
 * A rollup's query over "source", which is a table or a subquery.  A variant
 * has one measure more (1) or a condition that all rows meet (2), or both.
 */
static char *
query_text(const World *world, int i, const char *source, int variant)
{
	const Rollup *rollup = &world->rollups[i];
	PQExpBuffer text = createPQExpBuffer();
	bool keyed = strstr(rollup->columns, ", k,") != NULL;
	char *result;

	appendPQExpBufferStr(text, "SELECT ");
	append_bucket(text, world, rollup->multiple,
				  rollup->child < 0 ? "t" : "bucket");
	appendPQExpBuffer(text, " AS bucket%s, ", keyed ? ", k" : "");
	if (i == 3)
		appendPQExpBufferStr(text,
							 "count(*) AS n, count(*) FILTER (WHERE v > 50) "
							 "AS big, min(v) AS lo");
	else if (rollup->child < 0)
		appendPQExpBufferStr(text,
							 "count(*) AS n, sum(v) AS s, max(v) AS hi, "
							 "count(DISTINCT v) AS d");
	else
		appendPQExpBufferStr(text, "sum(n) AS n, sum(s) AS s, max(hi) AS hi");
	if (variant & 1)
		appendPQExpBuffer(text, ", max(%s) AS extra",
						  rollup->child < 0 ? "v" : "n");
	appendPQExpBuffer(text, " FROM %s", source);
	if (i == 3)
		appendPQExpBufferStr(text, " WHERE v > 0");
	if (variant & 2)
		appendPQExpBuffer(text, " %s ((%s > 5) IS NOT NULL OR true)",
						  i == 3 ? "AND" : "WHERE",
						  rollup->child < 0 ? "v" : "n");
	appendPQExpBuffer(text, " GROUP BY %s", keyed ? "1, 2" : "1");
	result = strdup(text->data);
	destroyPQExpBuffer(text);
	return result;
}

/* Rows that are on one side only, or not as often as on the other. */
static void
append_live_check(PQExpBuffer to, const Rollup *rollup)
{
	appendPQExpBuffer(
		to,
		"SELECT '%s_live', bucket::text, ROW(%s)::text, sum(side) FROM ("
		"SELECT %s, 1 AS side FROM %s_live UNION ALL "
		"SELECT %s, -1 FROM (%s) AS raw) AS both_sides "
		"GROUP BY %s HAVING sum(side) <> 0",
		rollup->name, rollup->columns, rollup->columns, rollup->name,
		rollup->columns, rollup->raw, rollup->columns);
}

/* The names of a rollup and those below it, and their sources. */
static void
append_family(PQExpBuffer names, PQExpBuffer sources, const World *world, int i)
{
	for (; i >= 0; i = world->rollups[i].child)
	{
		const Rollup *rollup = &world->rollups[i];

		appendPQExpBuffer(names, "%s'%s'", names->len ? ", " : "",
						  rollup->name);
		appendPQExpBuffer(sources, "%s'%s'::regclass", sources->len ? ", " : "",
						  rollup->child < 0
							  ? "src"
							  : world->rollups[rollup->child].name);
	}
}

static void
append_target_check(PQExpBuffer to, const World *world, int i)
{
	const Rollup *rollup = &world->rollups[i];
	PQExpBuffer names = createPQExpBuffer();
	PQExpBuffer sources = createPQExpBuffer();
	PQExpBuffer range = createPQExpBuffer();

	append_family(names, sources, world, i);
	append_bucket_range(range, world, rollup->multiple);
	appendPQExpBuffer(
		to,
		"WITH horizon AS MATERIALIZED ("
		"SELECT min(CASE WHEN target = to_regclass(rollup_name) "
		"THEN coalesce(horizon, '-infinity') ELSE '-infinity' END) AS h "
		"FROM aggjobs.rollup "
		"LEFT JOIN aggjobs.rollup_state USING (rollup_name) "
		"WHERE rollup_name IN (%s)), "
		"dirty AS MATERIALIZED ("
		"SELECT from_time, to_time FROM aggjobs.stale "
		"JOIN aggjobs.rollup USING (rollup_id) WHERE rollup_name IN (%s) "
		"UNION ALL "
		"SELECT from_time, to_time FROM aggjobs.change WHERE source IN (%s)), ",
		names->data, names->data, sources->data);
	appendPQExpBuffer(
		to,
		"clean AS MATERIALIZED (SELECT * FROM ("
		"SELECT %s, 1 AS side, %s FROM %s UNION ALL "
		"SELECT %s, -1, %s FROM (%s) AS raw) AS both_sides "
		"WHERE ends <= (SELECT h FROM horizon) AND NOT EXISTS ("
		"SELECT FROM dirty WHERE from_time < ends AND to_time > begins)) ",
		rollup->columns, range->data, rollup->name, rollup->columns,
		range->data, rollup->raw);
	appendPQExpBuffer(
		to,
		"SELECT '%s', bucket::text, ROW(%s)::text, sum(side) FROM clean "
		"GROUP BY %s HAVING sum(side) <> 0 UNION ALL "
		"SELECT 'clean', NULL, NULL, count(*) FROM clean WHERE side = 1",
		rollup->name, rollup->columns, rollup->columns);
	destroyPQExpBuffer(names);
	destroyPQExpBuffer(sources);
	destroyPQExpBuffer(range);
}

static void
add_rollup(World *world, const char *name, int child, int multiple,
		   const char *columns)
{
	int i = world->nrollups++;
	Rollup *rollup = &world->rollups[i];
	PQExpBuffer text = createPQExpBuffer();

	rollup->name = name;
	rollup->child = child;
	rollup->multiple = multiple;
	rollup->columns = columns;
	if (child < 0)
	{
		rollup->query = query_text(world, i, "src", 0);
		rollup->raw = query_text(world, i, "src", 0);
	}
	else
	{
		rollup->query = query_text(world, i, world->rollups[child].name, 0);
		appendPQExpBuffer(text, "(%s) AS %s", world->rollups[child].raw,
						  world->rollups[child].name);
		rollup->raw = query_text(world, i, text->data, 0);
	}
	for (int v = 0; v < lengthof(rollup->variants); v++)
		rollup->variants[v] =
			query_text(world, i, child < 0 ? "src" : world->rollups[child].name,
					   v);
	resetPQExpBuffer(text);
	append_live_check(text, rollup);
	rollup->checks[0] = strdup(text->data);
	resetPQExpBuffer(text);
	append_target_check(text, world, i);
	rollup->checks[1] = strdup(text->data);
	destroyPQExpBuffer(text);
}

/* Decide which rollups the world has; what is derived must come in order. */
void
rollups_plan(World *world)
{
	static const char *const keyed = "bucket, k, n, s, hi";
	static const char *const plain = "bucket, n, s, hi";

	world->nrollups = 0;
	add_rollup(world, "r1", -1, 1, "bucket, k, n, s, hi, d");
	add_rollup(world, "r2", 0, 5, chance(&world->random, 50) ? keyed : plain);
	add_rollup(world, "r3", 1, 30, plain);
	add_rollup(world, "r4", -1, 2, "bucket, n, big, lo");
}

void
rollups_create(World *world, PGconn *conn)
{
	PQExpBuffer sql = createPQExpBuffer();

	for (int i = 0; i < world->nrollups; i++)
		appendPQExpBuffer(
			sql,
			"SELECT aggjobs_create_rollup('%s', $q$%s$q$, schedule => NULL%s);",
			world->rollups[i].name, world->rollups[i].query,
			world->type == TIME_BIGINT ? ", epoch => 'millisecond'" : "");
	run_plainly(conn, sql->data);
	destroyPQExpBuffer(sql);
}

/*
 * Give a rollup another query, whose columns that are looked at are the same,
 * or compute the one that it was given.  The background keeps out of it.
 */
void
alter_some(Session *session)
{
	static const int drawn[] = {0, 0, 1, 2, 3};
	Random *random = &session->random;
	const Rollup *rollup =
		&session->world->rollups[drawn[below(random, lengthof(drawn))]];

	if (chance(random, 40))
		appendPQExpBuffer(
			session->sql,
			"SELECT part, change FROM aggjobs_alter_rollup('%s', $q$%s$q$); "
			"SELECT aggjobs_drop_job(job_name) FROM aggjobs.job "
			"WHERE job_name = '%s_next'",
			rollup->name,
			rollup->variants[below(random, lengthof(rollup->variants))],
			rollup->name);
	else
		appendPQExpBuffer(session->sql, "CALL aggjobs_refresh('%s_next')",
						  rollup->name);
	session->on_done = NULL;
	session_send(session, ERR_REFRESH | ERR_ALTER);
}

/* What is not complete at the end goes. */
void
rollups_give_up_altering(World *world)
{
	run_plainly(world->control,
				"SELECT aggjobs_drop_rollup(rollup_name) FROM aggjobs.rollup "
				"WHERE replaces IS NOT NULL");
}

void
rollups_free(World *world)
{
	for (int i = 0; i < world->nrollups; i++)
	{
		Rollup *rollup = &world->rollups[i];

		for (int v = 0; v < lengthof(rollup->variants); v++)
			free(rollup->variants[v]);
		free(rollup->query);
		free(rollup->raw);
		free(rollup->checks[0]);
		free(rollup->checks[1]);
	}
	world->nrollups = 0;
}
