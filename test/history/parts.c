/*-------------------------------------------------------------------------
 *
 * parts.c
 *	  Partitions that come and go, with rows in them.
 *
 * The bounds lie around the instant at which the world was made, so that a
 * history's rows are in two to four partitions and moving them crosses
 * bounds.  What is attached is only guessed: transactions are rolled back,
 * statements cancelled, and the errors that follow are ordinary life.
 *
 * A snapshot does not protect against ATTACH: the partition is there at once
 * for statements whose snapshot is older, with all its rows.  Checkers
 * therefore hold an advisory lock, and ATTACH waits for it.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/parts.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE

#include "history.h"

#define DAY INT64_C(86400000000)
#define LOCK_FOR_ATTACH "SELECT pg_advisory_xact_lock(7)"

/* Where the partitions meet: milliseconds from the world's birth, or days. */
static const int bounds[] = {-2500, -800, 300, 2000, 6000};
static const int date_bounds[] = {-20, -5, -1, 1, 2};

static int64_t
bound(const World *world, int i)
{
	if (world->type == TIME_DATE)
		return world->born + date_bounds[i] * DAY;
	return world->born + bounds[i] * INT64_C(1000);
}

/* Where the partition begins; the second may leave a gap after the first. */
static int64_t
lower_bound(const World *world, int part)
{
	int64_t us = bound(world, part - 1);

	if (world->has_gap && part == 1)
		us += world->type == TIME_DATE ? 3 * DAY : 200000;
	return us;
}

static bool
is_default(const World *world, int part)
{
	return world->has_default && part == world->nparts - 1;
}

/* The rest of ATTACH PARTITION or PARTITION OF. */
static void
append_bounds(PQExpBuffer to, const World *world, int part)
{
	if (is_default(world, part))
	{
		appendPQExpBufferStr(to, " DEFAULT");
		return;
	}
	appendPQExpBufferStr(to, " FOR VALUES FROM (");
	if (part == 0)
		appendPQExpBufferStr(to, "MINVALUE");
	else
		append_instant(to, world, lower_bound(world, part));
	appendPQExpBufferStr(to, ") TO (");
	if (part == world->nparts - 1)
		appendPQExpBufferStr(to, "MAXVALUE");
	else
		append_instant(to, world, bound(world, part));
	appendPQExpBufferStr(to, ")");
}

static void
append_create(PQExpBuffer to, const World *world, int part)
{
	appendPQExpBuffer(to, "CREATE TABLE src_p%d PARTITION OF src", part);
	append_bounds(to, world, part);
	appendPQExpBufferStr(to, ";");
}

void
parts_create(PQExpBuffer to, const World *world)
{
	for (int i = 0; i < world->nparts; i++)
		append_create(to, world, i);
}

/* Detachments that were begun and not ended. */
void
parts_finish(PQExpBuffer to)
{
	appendPQExpBufferStr(
		to,
		"DO $$ DECLARE part regclass; BEGIN "
		"SELECT inhrelid INTO part FROM pg_inherits WHERE "
		"inhparent = 'src'::regclass AND inhdetachpending; "
		"IF part IS NOT NULL THEN EXECUTE format("
		"'ALTER TABLE src DETACH PARTITION %s FINALIZE', part); END IF; "
		"END $$;");
}

/* Finish what was begun, and make anew what is not attached. */
void
parts_restore(PQExpBuffer to, const World *world)
{
	parts_finish(to);
	appendPQExpBufferStr(to, "DO $$ BEGIN ");
	for (int i = 0; i < world->nparts; i++)
	{
		appendPQExpBuffer(
			to,
			"IF NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = "
			"'src'::regclass AND inhrelid = to_regclass('src_p%d')) THEN "
			"DROP TABLE IF EXISTS src_p%d; ",
			i, i);
		append_create(to, world, i);
		appendPQExpBufferStr(to, " END IF; ");
	}
	appendPQExpBufferStr(to, "END $$;");
}

/* INSERT of rows that this very partition can hold. */
static void
append_insert(PQExpBuffer to, Session *session, int part)
{
	World *world = session->world;
	PQExpBuffer from = createPQExpBuffer();
	int n = 1 + below(&session->random, 5);
	int64_t step = world->type == TIME_DATE ? 0 : 11000;
	int64_t first;

	if (part == 0)
		first = bound(world, 0) - (world->type == TIME_DATE ? DAY : 10 * step);
	else
		first = lower_bound(world, part);
	append_instant(from, world, first);
	appendPQExpBuffer(to, "INSERT INTO src_p%d SELECT %d + g, ", part,
					  world->next_id);
	append_moved(to, world, from->data, "g", step);
	appendPQExpBuffer(to,
					  ", 'b', g * 10 + 3, 'direct' "
					  "FROM generate_series(0, %d) AS g",
					  n - 1);
	world->next_id += n;
	destroyPQExpBuffer(from);
}

static void
append_attach(PQExpBuffer to, const World *world, int part)
{
	appendPQExpBuffer(
		to, LOCK_FOR_ATTACH "; ALTER TABLE src ATTACH PARTITION src_p%d", part);
	append_bounds(to, world, part);
}

/* A table with rows takes the partition's place. */
static void
append_exchange(PQExpBuffer to, Session *session, int part)
{
	appendPQExpBuffer(to,
					  "DROP TABLE IF EXISTS src_p%d; "
					  "CREATE TABLE src_p%d (LIKE src%s); ",
					  part, part,
					  chance(&session->random, 50) ? " INCLUDING ALL" : "");
	append_insert(to, session, part);
	appendPQExpBufferStr(to, "; ");
	append_attach(to, session->world, part);
}

/* Rows of a partition that is named itself, attached or not. */
static void
append_direct_change(PQExpBuffer to, Session *session, int part)
{
	int kind = below(&session->random, 5);

	if (kind < 2)
		append_insert(to, session, part);
	else if (kind == 2)
		appendPQExpBuffer(to, "UPDATE src_p%d SET v = v + 1 WHERE id %% 5 = %d",
						  part, below(&session->random, 5));
	else if (kind == 3)
		appendPQExpBuffer(to, "DELETE FROM src_p%d WHERE id %% 7 = %d", part,
						  below(&session->random, 7));
	else
	{
		session->ddl = true;
		appendPQExpBuffer(to, "TRUNCATE src_p%d", part);
	}
}

static void
note_attached(Session *session)
{
	int part = session->argument / 2;

	if (!session->refused)
		session->world->attached[part] = session->argument % 2 != 0;
	else if (strcmp(session->error, "42809") == 0 ||
			 strcmp(session->error, "42P01") == 0)
		session->world->attached[part] = !session->world->attached[part];
}

/*
 * part_operation
 *		Something about a partition, in the open transaction or alone.
 */
void
part_operation(Session *session)
{
	World *world = session->world;
	Random *random = &session->random;
	bool inside = session_in_transaction(session);
	int part = below(random, world->nparts);
	int kind = below(random, 100);
	bool attached = world->attached[part];

	session->ddl = session->ddl || kind >= 45;
	if (kind < 45)
		append_direct_change(session->sql, session, part);
	else if (kind < 57)
	{
		attached = true;
		append_exchange(session->sql, session, part);
	}
	else if (kind < 64)
	{
		attached = true;
		appendPQExpBuffer(session->sql, "DROP TABLE src_p%d; ", part);
		append_create(session->sql, world, part);
	}
	else if (kind < 67 && !inside)
		appendPQExpBuffer(session->sql,
						  "ALTER TABLE src DETACH PARTITION src_p%d FINALIZE",
						  part);
	else if (!attached)
	{
		attached = true;
		append_attach(session->sql, world, part);
	}
	else
	{
		bool concurrently = chance(random, 50);

		attached = false;
		appendPQExpBuffer(session->sql,
						  "ALTER TABLE src DETACH PARTITION src_p%d%s", part,
						  concurrently && !inside && !world->has_default
							  ? " CONCURRENTLY"
							  : "");
	}
	session->argument = part * 2 + attached;
	session->on_done = note_attached;
	session_send(session, ERR_ROWS | ERR_PARTS);
}
