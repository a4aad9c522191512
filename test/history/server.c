/*-------------------------------------------------------------------------
 *
 * server.c
 *	  Crashes of the server in the middle of a history.
 *
 * Either the whole server stops at once and is started again, or one of its
 * processes is killed and it starts anew by itself.  The server must be
 * private, on this machine, and run by the same user; PGDATA says where it
 * lives and PATH where its programs are.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/server.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "history.h"

#define STOP "pg_ctl -s -m immediate -w stop >/dev/null 2>&1"
#define START \
	"pg_ctl -s -w -t 60 -l \"$PGDATA/../server.log\" start >/dev/null 2>&1"

static void
stop_and_start(void)
{
	if (system(STOP) != 0 || system(START) != 0)
	{
		fprintf(stderr, "could not stop and start the server in PGDATA\n");
		exit(2);
	}
}

/* The server takes a connection away once it knows of the crash. */
static void
wait_until_lost(PGconn *conn)
{
	struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};

	/* what it still says is of no interest */
	do
	{
		if (poll(&fd, 1, 10000) <= 0)
		{
			fprintf(stderr, "the server does not notice a killed process\n");
			exit(2);
		}
	} while (PQconsumeInput(conn));
}

static void
kill_one(World *world)
{
	Session *victim = &world->sessions[below(&world->random, world->nsessions)];

	if (kill(PQbackendPID(victim->conn), SIGKILL) != 0)
	{
		perror("could not kill a server process");
		exit(2);
	}
	for (int i = 0; i < world->nsessions; i++)
		wait_until_lost(world->sessions[i].conn);
	for (int i = 0; i < lengthof(world->checkers); i++)
		wait_until_lost(world->checkers[i].conn);
	wait_until_lost(world->control);
}

static void
begin_anew(Session *session)
{
	if (session->state == SESSION_BUSY)
		end_record(session->world, session->record, "lost in the crash");
	session_close(session);
	session_open(session);
	session->held_until = 0;
}

/*
 * server_crash
 *		Crash the server, in one way or the other, and connect again.
 */
void
server_crash(World *world)
{
	bool one = chance(&world->random, 50);
	int record =
		add_record(world, "crash", one ? "kill -9 of a server process" : STOP);

	if (one)
		kill_one(world);
	else
		stop_and_start();
	PQfinish(world->control);
	world->control = connect_plainly(world->database);
	for (int i = 0; i < world->nsessions; i++)
		begin_anew(&world->sessions[i]);
	for (int i = 0; i < lengthof(world->checkers); i++)
		begin_anew(&world->checkers[i]);
	end_record(world, record, "up again");
	figures->crashes++;
}
