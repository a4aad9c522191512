/*-------------------------------------------------------------------------
 *
 * plain.c
 *	  Connections and statements that have to work, one at a time.
 *
 * What a history needs around it: set-up and clean-up.  An error here is not
 * a finding but the end of the program.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/plain.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdlib.h>

#include "history.h"

/* A server that recovers from a crash has that long, in milliseconds. */
#define PATIENCE 60000
#define PAUSE 5

static void
ignore_notice(void *arg, const PGresult *result)
{
	(void) arg;
	(void) result;
}

/*
 * connect_with
 *		Connect to a database; the server is that of the environment.
 *
 * Waits for a server that is starting, or has crashed meanwhile.  The
 * connection is good, or the program ends.
 */
PGconn *
connect_with(const char *database, const char *name, const char *settings)
{
	const char *const words[] = {"dbname", "application_name", "options", NULL};
	const char *const values[] = {database, name, settings, NULL};
	PGconn *conn = NULL;

	for (int waited = 0; waited < PATIENCE; waited += PAUSE)
	{
		conn = PQconnectdbParams(words, values, 0);
		if (PQstatus(conn) == CONNECTION_OK)
		{
			PQsetNoticeReceiver(conn, ignore_notice, NULL);
			return conn;
		}
		if (strstr(PQerrorMessage(conn), "starting up") == NULL &&
			strstr(PQerrorMessage(conn), "recovery") == NULL &&
			strstr(PQerrorMessage(conn), "shutting down") == NULL &&
			strstr(PQerrorMessage(conn), "not yet accepting") == NULL &&
			strstr(PQerrorMessage(conn), "closed the connection") == NULL &&
			strstr(PQerrorMessage(conn), "too many clients") == NULL)
			break;
		PQfinish(conn);
		conn = NULL;
		poll(NULL, 0, PAUSE);
	}
	fprintf(stderr, "could not connect to database \"%s\": %s", database,
			conn ? PQerrorMessage(conn) : "the server does not come up\n");
	exit(2);
}

PGconn *
connect_plainly(const char *database)
{
	return connect_with(
		database, "history control",
		"-c timezone=UTC -c client_min_messages=error -c jit=off "
		"-c statement_timeout=60s");
}

static bool
is_deadlock(const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return state != NULL && strcmp(state, "40P01") == 0;
}

/* Workers of backfills may be at work: the victim of a deadlock tries again. */
static PGresult *
must_work(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	ExecStatusType status;

	for (int again = 0; is_deadlock(result) && again < 10; again++)
	{
		PQclear(result);
		result = PQexec(conn, sql);
	}
	status = PQresultStatus(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
	{
		fprintf(stderr, "%s%s\n", PQerrorMessage(conn), sql);
		exit(2);
	}
	return result;
}

void
run_plainly(PGconn *conn, const char *sql)
{
	PQclear(must_work(conn, sql));
}

/* A question whose answer is one number. */
long
ask_plainly(PGconn *conn, const char *sql)
{
	PGresult *result = must_work(conn, sql);
	long answer = strtol(PQgetvalue(result, 0, 0), NULL, 10);

	PQclear(result);
	return answer;
}
