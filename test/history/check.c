/*-------------------------------------------------------------------------
 *
 * check.c
 *	  Is the live view the truth, in this snapshot and in old ones?
 *
 * Two checkers work beside the writers.  The first looks every few operations;
 * the second keeps its snapshot over many, while others refresh, and looks
 * again.  What they ask is in rollups.c; all of it is asked in one snapshot.
 *
 * TRUNCATE and ATTACH PARTITION do not respect snapshots: those taken before
 * see the new state of the raw table.  Against the first, a checker locks the
 * table before it takes its snapshot; about the second see parts.c.  DETACH
 * PARTITION CONCURRENTLY respects them, but for plans that are kept: see
 * append_checks().
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/check.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "history.h"

/* So many differing rows are shown; others are only counted. */
#define MOST_SHOWN 12

#define OPEN_TRANSACTION                                \
	"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " \
	"LOCK TABLE src IN ACCESS SHARE MODE; "

static const char *const left_over =
	"SELECT 'left over: stale', rollup_name, s::text, 1 FROM aggjobs.stale AS s "
	"JOIN aggjobs.rollup USING (rollup_id) UNION ALL "
	"SELECT 'left over: change', source::text, c::text, 1 FROM aggjobs.change AS c; ";

/* For a difference: where the engine thought to be, and the rows themselves. */
static const char *const circumstances[] = {
	"SELECT rollup_name, horizon, now(), clock_timestamp() FROM aggjobs.rollup_state",
	"SELECT rollup_name, s.* FROM aggjobs.stale AS s JOIN aggjobs.rollup USING (rollup_id) LIMIT 40",
	"SELECT * FROM aggjobs.change LIMIT 40",
	"SELECT gid, prepared FROM pg_prepared_xacts WHERE database = current_database()",
};

static void
show_result(PQExpBuffer to, const PGresult *result)
{
	int rows = PQntuples(result);
	int columns = PQnfields(result);

	for (int c = 0; c < columns; c++)
		appendPQExpBuffer(to, "%s%s", c ? " | " : "    ", PQfname(result, c));
	appendPQExpBufferStr(to, "\n");
	for (int r = 0; r < rows; r++)
	{
		for (int c = 0; c < columns; c++)
			appendPQExpBuffer(to, "%s%s", c ? " | " : "    ",
							  PQgetisnull(result, r, c)
								  ? "-"
								  : PQgetvalue(result, r, c));
		appendPQExpBufferStr(to, "\n");
	}
}

static void
show_query(Session *session, const char *sql)
{
	PGresult *result = PQexec(session->conn, sql);

	appendPQExpBuffer(session->world->failure, "  %s\n", sql);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		show_result(session->world->failure, result);
	else
		appendPQExpBufferStr(session->world->failure,
							 PQresultErrorMessage(result));
	PQclear(result);
}

/* The raw rows of the first differing bucket, which is of that rollup. */
static void
show_raw_rows(Session *session, const char *what, const char *bucket)
{
	World *world = session->world;
	PQExpBuffer sql = createPQExpBuffer();

	for (int i = 0; i < world->nrollups; i++)
	{
		const Rollup *rollup = &world->rollups[i];

		if (strncmp(what, rollup->name, strlen(rollup->name)) != 0)
			continue;
		appendPQExpBufferStr(
			sql, "SELECT tableoid::regclass, ctid, xmin, * FROM src WHERE (");
		append_bucket(sql, world, rollup->multiple, "t");
		appendPQExpBuffer(sql, ")::text = '%s' ORDER BY t LIMIT 60", bucket);
		show_query(session, sql->data);
	}
	destroyPQExpBuffer(sql);
}

static void
show_circumstances(Session *session)
{
	appendPQExpBufferStr(session->world->failure, "  in the same snapshot:\n");
	for (int i = 0; i < lengthof(circumstances); i++)
		show_query(session, circumstances[i]);
}

/* ------------------------------------------------------- asking, answering */

/* Rows (rollup, bucket, row, how often more) are differences. */
static void
take_differences(Session *session, PGresult *rows)
{
	PQExpBuffer to = session->world->failure;
	int n = PQntuples(rows);

	if (PQnfields(rows) != 4)
		return;
	for (int i = 0; i < n; i++)
	{
		const char *what = PQgetvalue(rows, i, 0);
		long more = strtol(PQgetvalue(rows, i, 3), NULL, 10);

		if (strcmp(what, "clean") == 0)
		{
			figures->clean_rows += more;
			continue;
		}
		if (!session->differs)
		{
			appendPQExpBuffer(
				to, "difference seen by %s, operation %d of the list%s\n",
				session->name, session->record + 1,
				session->held_until > 0 ? ", old snapshot" : "");
			snprintf(session->gid, sizeof(session->gid), "%s", what);
			resetPQExpBuffer(session->copy);
			appendPQExpBufferStr(session->copy, PQgetvalue(rows, i, 1));
		}
		session->differs = true;
		if (i < MOST_SHOWN)
			appendPQExpBuffer(to, "  %s %s%s: %s\n", what,
							  more > 0 ? "has, raw rows have not"
									   : "has not, raw rows have",
							  labs(more) > 1 ? " (several)" : "",
							  PQgetvalue(rows, i, 2));
	}
}

static void
finish_check(Session *session)
{
	session->held_until = 0;
	resetPQExpBuffer(session->sql);
	appendPQExpBuffer(session->sql, "%s; SELECT pg_advisory_unlock_all()",
					  session->refused ? "ROLLBACK" : "COMMIT");
	session->on_rows = NULL;
	session->on_done = NULL;
	session_send(session, 0);
}

static void
judge(Session *session)
{
	if (session->differs)
	{
		figures->differences++;
		session->world->failed = true;
		session->world->differs = true;
		if (!session->refused)
		{
			show_circumstances(session);
			show_raw_rows(session, session->gid, session->copy->data);
		}
	}
	if (!session->refused)
	{
		figures->checks++;
		if (session->argument > 0)
			figures->old_checks++;
	}
	if (session->held_until == 0 || session->refused || session->differs)
		finish_check(session);
}

/*
 * All checks, as text or as prepared statements, which have generic plans.
 * Such a plan may have been made in an older snapshot, and read a partition
 * whose detachment ours sees: in it raw rows and live view are the same still,
 * but not the target, so that is only compared by plans of this snapshot.
 */
static void
append_checks(Session *session, int kinds)
{
	World *world = session->world;
	bool prepared = session->has_prepared && chance(&session->random, 70);

	for (int i = 0; i < world->nrollups; i++)
		for (int kind = 0; kind < kinds; kind++)
			if (prepared && kind == 0)
				appendPQExpBuffer(session->sql, "EXECUTE %s; ",
								  world->rollups[i].name);
			else
				appendPQExpBuffer(session->sql, "%s; ",
								  world->rollups[i].checks[kind]);
}

static void
ask(Session *session)
{
	append_checks(session, 2);
	if (session->world->ending && session->world->refreshed)
		appendPQExpBufferStr(session->sql, left_over);
	session->differs = false;
	session->on_rows = take_differences;
	session->on_done = judge;
	session_send(session, 0);
}

static void
take_snapshot_and_ask(Session *session)
{
	resetPQExpBuffer(session->sql);
	/* COMMIT, lest the snapshot be older than the lock */
	if (session->world->partitioned)
		appendPQExpBufferStr(session->sql,
							 "SELECT pg_advisory_lock_shared(7); COMMIT; ");
	appendPQExpBufferStr(session->sql, OPEN_TRANSACTION);
	session->argument = 0;
	ask(session);
}

/* Plans that are kept are quicker, and a test of their own. */
static void
prepare_checks(Session *session)
{
	World *world = session->world;

	resetPQExpBuffer(session->sql);
	for (int i = 0; i < world->nrollups; i++)
		appendPQExpBuffer(session->sql, "PREPARE %s AS %s; ",
						  world->rollups[i].name, world->rollups[i].checks[0]);
	run_plainly(session->conn, session->sql->data);
	session->has_prepared = true;
}

/* ------------------------------------------------------------- when to look */

static void
keep_snapshot(Session *session)
{
	World *world = session->world;
	Random *random = &session->random;

	if (session->held_until == 0)
	{
		session->held_until = world->operations + 10 + below(random, 60);
		session->look_again = world->operations + 5 + below(random, 30);
		take_snapshot_and_ask(session);
	}
	else if (world->operations >= session->held_until)
	{
		resetPQExpBuffer(session->sql);
		session->argument = 1;
		session->held_until = 0;
		ask(session);
	}
	else if (world->operations >= session->look_again)
	{
		session->look_again = session->held_until;
		resetPQExpBuffer(session->sql);
		session->argument = 1;
		ask(session);
	}
}

/*
 * checks_start
 *		Send the checkers off, if it is time.
 */
void
checks_start(World *world)
{
	Session *first = &world->checkers[0];
	Session *second = &world->checkers[1];

	for (int i = 0; i < lengthof(world->checkers); i++)
		if (!world->checkers[i].has_prepared)
			prepare_checks(&world->checkers[i]);
	if (first->state == SESSION_IDLE && world->operations >= world->next_check)
	{
		world->next_check = world->operations + 8 + below(&first->random, 16);
		take_snapshot_and_ask(first);
	}
	if (second->state == SESSION_IDLE)
		keep_snapshot(second);
}

static void
judge_writer(Session *session)
{
	if (session->differs)
	{
		figures->differences++;
		session->world->failed = true;
		session->world->differs = true;
	}
	figures->checks++;
}

/* In a writer's own transaction, each statement is a snapshot of its own. */
void
check_as_writer(Session *session)
{
	append_checks(session, 1);
	session->differs = false;
	session->argument = 0;
	session->on_rows = take_differences;
	session->on_done = judge_writer;
	session_send(session, ERR_PARTS);
}

static void
wait_for(Session *session)
{
	while (session->state == SESSION_BUSY)
		sessions_wait(session->world, 1000);
}

/* The second checker looks a last time in its old snapshot. */
void
checks_end(World *world)
{
	Session *second = &world->checkers[1];

	wait_for(&world->checkers[0]);
	wait_for(second);
	if (second->held_until > 0)
	{
		second->held_until = world->operations;
		keep_snapshot(second);
		wait_for(second);
	}
}

/* Nobody else is at work. */
void
check_at_the_end(World *world)
{
	take_snapshot_and_ask(&world->checkers[0]);
	wait_for(&world->checkers[0]);
}
