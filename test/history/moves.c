/*-------------------------------------------------------------------------
 *
 * moves.c
 *	  What a session does next.
 *
 * Outside a transaction: a single statement, a whole transaction in one
 * message, the beginning of one that stays open, a refresh, the end of a
 * prepared transaction, trouble for another session, backfills.  Inside:
 * statements, savepoints, and an end of one of three kinds.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/moves.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE

#include "history.h"

/* ------------------------------------------------ prepared transactions */

static void
note_prepared(Session *session)
{
	World *world = session->world;

	if (!session->refused)
	{
		figures->prepared++;
		for (int i = 0; i < MOST_PREPARED; i++)
			if (world->prepared[i][0] == '\0')
			{
				strcpy(world->prepared[i], session->gid);
				break;
			}
		if (session->ddl)
			strcpy(world->urgent, session->gid);
	}
	session->ddl = false;
}

static void
note_unprepared(Session *session)
{
	World *world = session->world;

	if (session->refused && strcmp(session->error, "42704") != 0)
		return;
	for (int i = 0; i < MOST_PREPARED; i++)
		if (strcmp(world->prepared[i], session->gid) == 0)
			world->prepared[i][0] = '\0';
	if (strcmp(world->urgent, session->gid) == 0)
		world->urgent[0] = '\0';
}

static bool
can_prepare(const World *world)
{
	for (int i = 0; i < MOST_PREPARED; i++)
		if (world->prepared[i][0] == '\0')
			return !world->ending;
	return false;
}

/* Commit or roll back a prepared transaction, if there is any. */
static bool
end_prepared(Session *session)
{
	World *world = session->world;
	int first = below(&session->random, MOST_PREPARED);
	const char *gid = world->urgent;

	for (int i = 0; i < MOST_PREPARED && gid[0] == '\0'; i++)
		gid = world->prepared[(first + i) % MOST_PREPARED];
	if (gid[0] == '\0')
		return false;
	strcpy(session->gid, gid);
	appendPQExpBuffer(session->sql, "%s PREPARED '%s'",
					  chance(&session->random, 70) ? "COMMIT" : "ROLLBACK",
					  gid);
	session->on_done = note_unprepared;
	session_send(session, ERR_PREPARED);
	return true;
}

/* ----------------------------------------------------- inside transactions */

static void
note_end(Session *session)
{
	session->ddl = false;
}

/*
 * end_transaction
 *		COMMIT, ROLLBACK or PREPARE the open transaction.
 */
void
end_transaction(Session *session)
{
	World *world = session->world;
	Random *random = &session->random;

	session->savepoints = 0;
	session->on_done = note_end;
	if (session_broken_transaction(session) || chance(random, 18))
		appendPQExpBufferStr(session->sql,
							 chance(random, 80) ? "ROLLBACK" : "COMMIT");
	else if (can_prepare(world) && chance(random, session->ddl ? 4 : 15))
	{
		snprintf(session->gid, sizeof(session->gid), "%.24s_%d",
				 world->database, ++world->next_gid);
		appendPQExpBuffer(session->sql, "PREPARE TRANSACTION '%s'",
						  session->gid);
		session->on_done = note_prepared;
	}
	else
		appendPQExpBufferStr(session->sql, "COMMIT");
	session_send(session, 0);
}

static void
note_savepoint(Session *session)
{
	if (!session->refused)
		session->savepoints = session->argument;
}

/* Set, release or go back to a savepoint; they are called s1, s2, ... */
static void
savepoint(Session *session, bool back)
{
	int n = session->savepoints;
	int which = n > 0 ? 1 + below(&session->random, n) : 0;

	session->on_done = note_savepoint;
	if (!back && (n == 0 || (n < 5 && chance(&session->random, 50))))
	{
		session->argument = n + 1;
		appendPQExpBuffer(session->sql, "SAVEPOINT s%d", n + 1);
	}
	else if (back || chance(&session->random, 60))
	{
		session->argument = which;
		appendPQExpBuffer(session->sql, "ROLLBACK TO s%d", which);
	}
	else
	{
		session->argument = which - 1;
		appendPQExpBuffer(session->sql, "RELEASE s%d", which);
	}
	session_send(session, 0);
}

static void
change_rows(Session *session)
{
	unsigned allowed = append_row_change(session->sql, session, true);

	session->on_done = NULL;
	session_send(session, allowed);
}

static void
go_on(Session *session)
{
	World *world = session->world;
	Random *random = &session->random;

	if (session_broken_transaction(session))
	{
		if (session->savepoints > 0 && chance(random, 60))
			savepoint(session, true);
		else
			end_transaction(session);
		return;
	}
	/* others can't go on before one with such locks ends */
	if (session->ddl && session->left > 1)
		session->left = 1;
	if (session->left <= 0)
	{
		end_transaction(session);
		return;
	}
	session->left--;
	if (!session->ddl && chance(random, 5))
		session->wait_until = world->operations + 10 + below(random, 50);
	if (chance(random, 14))
		savepoint(session, false);
	else if (world->partitioned && chance(random, 6))
		part_operation(session);
	else if (options.own_writes && chance(random, 5))
		check_as_writer(session);
	else
		change_rows(session);
}

/* ---------------------------------------------------- outside transactions */

static void
begin(Session *session)
{
	Random *random = &session->random;
	int kind = below(random, 100);

	appendPQExpBuffer(session->sql, "BEGIN ISOLATION LEVEL %s",
					  kind < 65		  ? "READ COMMITTED"
						  : kind < 88 ? "REPEATABLE READ"
									  : "SERIALIZABLE");
	if (chance(random, 5))
		appendPQExpBufferStr(session->sql,
							 "; SET LOCAL session_replication_role = replica");
	session->left = 1 + below(random, 6);
	session->savepoints = 0;
	session->ddl = false;
	session->on_done = NULL;
	session_send(session, 0);
}

static void
whole_transaction(Session *session)
{
	int n = 1 + below(&session->random, 3);

	appendPQExpBufferStr(session->sql, "BEGIN; ");
	for (int i = 0; i < n; i++)
	{
		append_row_change(session->sql, session, false);
		appendPQExpBufferStr(session->sql, "; ");
	}
	appendPQExpBufferStr(session->sql,
						 chance(&session->random, 90) ? "COMMIT" : "ROLLBACK");
	session->left = 0;
	session->savepoints = 0;
	session->on_done = note_end;
	session_send(session, ERR_ROWS);
}

static void
commit_loop(Session *session)
{
	append_commit_loop(session->sql, session);
	session->on_done = NULL;
	session_send(session, ERR_ROWS);
}

static void
note_refresh(Session *session)
{
	if (!session->refused)
		figures->refreshes++;
}

void
refresh(Session *session, int rollup)
{
	appendPQExpBuffer(session->sql, "CALL aggjobs_refresh('%s')",
					  session->world->rollups[rollup].name);
	session->on_done = note_refresh;
	session_send(session, ERR_REFRESH);
}

/* The lowest rollups most often: their horizon is where the races are. */
static void
refresh_some(Session *session)
{
	static const int drawn[] = {0, 0, 0, 1, 1, 2, 3, 3};

	refresh(session, drawn[below(&session->random, lengthof(drawn))]);
}

/* Cancel what another session does, or end it. */
static void
trouble(Session *session)
{
	World *world = session->world;
	Session *other =
		&world->sessions[below(&session->random, world->nsessions)];
	bool ends = chance(&session->random, 35);

	if (other == session)
	{
		commit_loop(session);
		return;
	}
	if (ends)
		other->doomed = true;
	appendPQExpBuffer(session->sql, "SELECT pg_%s_backend(%d)",
					  ends ? "terminate" : "cancel", PQbackendPID(other->conn));
	session->on_done = NULL;
	session_send(session, 0);
}

/*
 * Whatever moves rows to other places without changing them.  ALTER TABLE marks
 * them as its own: a snapshot from before finds none.
 */
static void
maintain(Session *session)
{
	static const char *const commands[] = {
		"VACUUM (TRUNCATE off) src",
		"VACUUM (FREEZE, TRUNCATE off) src",
		"VACUUM FULL src",
		"REINDEX TABLE src",
		"ANALYZE src",
		"CHECKPOINT",
		"VACUUM r1",
		"ALTER TABLE src ALTER other TYPE text USING other || ''",
		"ALTER TABLE src_p2 SET UNLOGGED; ALTER TABLE src_p2 SET LOGGED",
	};

	appendPQExpBufferStr(session->sql,
						 commands[below(&session->random, lengthof(commands))]);
	session->on_done = NULL;
	session_send(session, ERR_PARTS);
}

/* Switch off what captures updates or deletes, or switch it on again. */
static void
break_capture(Session *session)
{
	Random *random = &session->random;

	appendPQExpBuffer(session->sql,
					  "ALTER TABLE src %s TRIGGER aggjobs_capture_%s",
					  chance(random, 50) ? "DISABLE" : "ENABLE ALWAYS",
					  chance(random, 50) ? "update" : "delete");
	session->on_done = NULL;
	session_send(session, ERR_ALTER);
}

static const struct
{
	int weight;
	void (*move)(Session *session);
} moves[] = {
	{36, change_rows},		{18, begin},	  {16, refresh_some},
	{9, whole_transaction}, {6, commit_loop}, {3, trouble},
	{2, maintain},			{2, alter_some},  {1, break_capture},
	{6, part_operation}, /* last: not in every world */
};

static void
start_something(Session *session)
{
	World *world = session->world;
	int last = lengthof(moves) - (world->partitioned ? 0 : 1);
	int sum = 0;
	int i, drawn;

	if ((world->urgent[0] != '\0' || chance(&session->random, 6)) &&
		end_prepared(session))
		return;
	/* drawn only where there are any: other histories stay what they were */
	if (world->backfills && chance(&session->random, 6))
	{
		backfill_some(session);
		return;
	}
	for (i = 0; i < last; i++)
		sum += moves[i].weight;
	drawn = below(&session->random, sum);
	for (i = 0; drawn >= moves[i].weight; i++)
		drawn -= moves[i].weight;
	moves[i].move(session);
}

/*
 * next_operation
 *		Let an idle session do something.
 */
void
next_operation(Session *session)
{
	resetPQExpBuffer(session->sql);
	session->on_rows = NULL;
	session->on_done = NULL;
	if (session_in_transaction(session))
		go_on(session);
	else
		start_something(session);
}
