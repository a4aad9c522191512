/*-------------------------------------------------------------------------
 *
 * world.c
 *	  Databases in which histories are played: a raw table and its rollups.
 *
 * What a world looks like depends on the group of seeds it is made for, so
 * that a single history can be played again.  It is made from a template that
 * has the extension, is emptied before each history, and is given up after a
 * history that failed.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/world.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "history.h"

/* Rows that are there when a history begins. */
#define FIRST_ROWS 40

static char template_name[64];

/*
 * The template takes no connections, so that no scheduler starts in it and it
 * can be copied at any time.
 */
void
template_make(void)
{
	PQExpBuffer sql = createPQExpBuffer();
	PGconn *conn;

	if (options.template != NULL)
		return;
	snprintf(template_name, sizeof(template_name), "history_template_%d",
			 (int) getpid());
	conn = connect_plainly("postgres");
	appendPQExpBuffer(sql, "CREATE DATABASE %s", template_name);
	run_plainly(conn, sql->data);
	PQfinish(conn);

	conn = connect_plainly(template_name);
	run_plainly(conn, "CREATE EXTENSION pg_aggjobs");
	run_plainly(conn, "SELECT aggjobs_drop_pipeline()");
	PQfinish(conn);

	conn = connect_plainly("postgres");
	resetPQExpBuffer(sql);
	appendPQExpBuffer(sql, "ALTER DATABASE %s ALLOW_CONNECTIONS false",
					  template_name);
	run_plainly(conn, sql->data);
	PQfinish(conn);
	destroyPQExpBuffer(sql);
}

static void
drop_database(const char *name)
{
	PGconn *conn = connect_plainly("postgres");
	PQExpBuffer sql = createPQExpBuffer();

	appendPQExpBuffer(sql, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
	run_plainly(conn, sql->data);
	PQfinish(conn);
	destroyPQExpBuffer(sql);
}

void
template_drop(void)
{
	if (template_name[0] != '\0')
		drop_database(template_name);
}

/* Draw what kind of world this is. */
static void
world_plan(World *world, uint64_t group)
{
	static const int widths[] = {10, 20, 50, 200};
	static const int delays[] = {0, 2, 8, 25};
	Random *random = &world->random;
	int kind;

	random_start(random, group, 1000);
	kind = below(random, 100);
	world->type = kind < 55 ? TIME_TIMESTAMPTZ
		: kind < 70			? TIME_TIMESTAMP
		: kind < 80			? TIME_DATE
							: TIME_BIGINT;
	world->buckets = BY_AGGJOBS_BUCKET;
	if (world->type == TIME_TIMESTAMPTZ || world->type == TIME_TIMESTAMP)
		world->buckets = chance(random, 60) ? BY_DATE_BIN
			: chance(random, 75)			? BY_AGGJOBS_BUCKET
											: BY_DATE_TRUNC;
	world->width =
		world->type == TIME_DATE ? 1 : widths[below(random, lengthof(widths))];
	world->partitioned = chance(random, 50);
	world->has_default = world->partitioned && chance(random, 40);
	world->has_gap =
		world->partitioned && !world->has_default && chance(random, 30);
	world->nparts = world->partitioned ? MOST_PARTS : 0;
	world->born = now_us();
	world->commit_delay = delays[below(random, lengthof(delays))];
	world->fine = chance(random, 75) || options.gate_off;

	/* only where the horizon moves fast it can overtake a writer */
	if (options.gate_off)
	{
		world->type = kind % 2 ? TIME_TIMESTAMPTZ : TIME_BIGINT;
		world->buckets = BY_AGGJOBS_BUCKET;
		world->width = 10;
		world->commit_delay = 25;
	}
	rollups_plan(world);
}

/* The table, with room for HOT updates. */
static void
make_tables(World *world)
{
	static const char *const types[] = {
		[TIME_TIMESTAMPTZ] = "timestamptz",
		[TIME_TIMESTAMP] = "timestamp",
		[TIME_DATE] = "date",
		[TIME_BIGINT] = "bigint",
	};
	PQExpBuffer sql = createPQExpBuffer();

	appendPQExpBuffer(
		sql,
		"CREATE TABLE src (id bigint, t %s NOT NULL, k text, v integer, "
		"other text, PRIMARY KEY (id%s))%s;",
		types[world->type], world->partitioned ? ", t" : "",
		world->partitioned ? " PARTITION BY RANGE (t)"
						   : " WITH (fillfactor = 50)");
	if (world->partitioned)
		parts_create(sql, world);
	if (chance(&world->random, 60))
		appendPQExpBufferStr(sql, "CREATE INDEX ON src (t)");
	run_plainly(world->control, sql->data);
	destroyPQExpBuffer(sql);
	rollups_create(world, world->control);
}

/* The sessions' names are also what they are called on the server. */
static void
make_session(World *world, Session *session, const char *kind, int number)
{
	session->world = world;
	session->checker = kind[0] == 'c';
	snprintf(session->name, sizeof(session->name), "%s%d", kind, number);
	if (session->sql == NULL)
	{
		session->sql = createPQExpBuffer();
		session->copy = createPQExpBuffer();
		session->outcome = createPQExpBuffer();
	}
	session_open(session);
}

/*
 * world_make
 *		Create the database for a group of seeds, and connect to it.
 */
void
world_make(World *world, uint64_t group, const char *database)
{
	PQExpBuffer sql = createPQExpBuffer();
	PGconn *conn = connect_plainly("postgres");

	snprintf(world->database, sizeof(world->database), "%s", database);
	appendPQExpBuffer(sql, "CREATE DATABASE %s TEMPLATE %s", database,
					  options.template ? options.template : template_name);
	run_plainly(conn, sql->data);
	destroyPQExpBuffer(sql);
	world_plan(world, group);
	backfills_configure(world, conn);
	PQfinish(conn);

	world->control = connect_plainly(database);
	make_tables(world);
	world->nsessions = options.sessions;
	for (int i = 0; i < world->nsessions; i++)
		make_session(world, &world->sessions[i], "s", i + 1);
	for (int i = 0; i < lengthof(world->checkers); i++)
		make_session(world, &world->checkers[i], "c", i + 1);
}

/* Every table as it was, empty or with some old rows; the horizon stays. */
void
world_clear(World *world)
{
	Random *random = &world->random;
	PQExpBuffer sql = createPQExpBuffer();

	appendPQExpBufferStr(sql,
						 chance(random, 70) ? "TRUNCATE src;"
											: "DELETE FROM src;");
	if (world->partitioned)
		parts_restore(sql, world);
	if (!world->has_gap && chance(random, 80))
	{
		appendPQExpBufferStr(sql, "INSERT INTO src SELECT g, ");
		append_moved(sql, world, "now", "g",
					 world->type == TIME_DATE ? -INT64_C(86400000000)
											  : -INT64_C(61000));
		appendPQExpBufferStr(
			sql,
			", CASE g % 4 WHEN 0 THEN 'a' WHEN 1 THEN 'b' "
			"WHEN 2 THEN 'c' END, g - 3, 'first' FROM (SELECT ");
		append_now(sql, world);
		appendPQExpBuffer(sql, ") AS clock (now), generate_series(1, %d) AS g",
						  FIRST_ROWS);
	}
	run_plainly(world->control, sql->data);
	if (chance(random, 70))
		for (int i = 0; i < world->nrollups; i++)
		{
			resetPQExpBuffer(sql);
			appendPQExpBuffer(sql, "CALL aggjobs_refresh('%s')",
							  world->rollups[i].name);
			run_plainly(world->control, sql->data);
		}
	destroyPQExpBuffer(sql);
	world->next_id = FIRST_ROWS + 1;
}

void
world_drop(World *world)
{
	for (int i = 0; i < world->nsessions; i++)
		session_close(&world->sessions[i]);
	for (int i = 0; i < lengthof(world->checkers); i++)
		session_close(&world->checkers[i]);
	PQfinish(world->control);
	world->control = NULL;
	rollups_free(world);
	if (!options.keep)
		drop_database(world->database);
}
