/*-------------------------------------------------------------------------
 *
 * session.c
 *	  One statement in flight per session, all sessions at the same time.
 *
 * A session is told what to do by text in its "sql" (and rows for COPY in
 * "copy"), and goes its way; sessions_wait() takes in what the server says,
 * writes it into the record of operations and judges errors.  An error that
 * nobody could have expected makes the history fail, and so does a
 * connection that breaks without a reason.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/session.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>

#include "history.h"

/* What may go wrong in ordinary life, and for whom. */
static const struct
{
	const char *code;
	unsigned allowed;
} expected_errors[] = {
	{"40001", ERR_ANY},			/* serialization failure */
	{"40P01", ERR_ANY},			/* deadlock */
	{"55P03", ERR_ANY},			/* lock timeout */
	{"57014", ERR_ANY},			/* cancelled */
	{"25P02", ERR_TRANSACTION}, /* transaction is aborted */
	{"23505", ERR_ROWS},		/* duplicate key */
	{"23514", ERR_ROWS},		/* no partition for the row */
	{"21000", ERR_ROWS},		/* the same row twice */
	{"23514", ERR_PARTS},		/* rows do not fit */
	{"42P01", ERR_PARTS},		/* the table is gone */
	{"42P07", ERR_PARTS},		/* the table is there already */
	{"42P17", ERR_PARTS},		/* bounds overlap */
	{"42809", ERR_PARTS},		/* is, or is no, partition */
	{"55000", ERR_PARTS},		/* a detach is pending, or is not */
	{"55006", ERR_PARTS},		/* in use by this session */
	{"42704", ERR_PREPARED},	/* ended by somebody else */
	{"55000", ERR_PREPARED},	/* being ended by somebody else */
	{"55006", ERR_REFRESH},
	{"42704", ERR_ALTER}, /* is complete, or given up */
	{"42710", ERR_ALTER}, /* begun by somebody else */
	{"42P07", ERR_ALTER},
	{"23505", ERR_ALTER},
	{"2BP01", ERR_ALTER},	 /* read by somebody */
	{"0A000", ERR_ALTER},	 /* capture of the source is broken */
	{"22023", ERR_BACKFILL}, /* nothing lies in the range */
	{"55000", ERR_BACKFILL}, /* paused, cancelled, ... by somebody else */
};

/* Settings under which a session works. */
void
session_open(Session *session)
{
	PQExpBuffer settings = createPQExpBuffer();
	int number = session->name[1] - '0';

	appendPQExpBuffer(settings,
					  "-c timezone=UTC -c client_min_messages=error -c jit=off "
					  "-c statement_timeout=20s -c deadlock_timeout=5ms "
					  "-c lock_timeout=%dms",
					  session->checker ? 100 : 15);
	if (features.gate && options.gate_off)
		appendPQExpBufferStr(settings, " -c aggjobs.gate=off");
	if (features.cell_width && session->world->fine)
		appendPQExpBufferStr(settings, " -c aggjobs.test_cell_width=1ms");
	if (features.commit_delay && !session->checker && number <= 2)
		appendPQExpBuffer(settings, " -c aggjobs.test_commit_delay=%d",
						  session->world->commit_delay / number);
	session->conn =
		connect_with(session->world->database, session->name, settings->data);
	session->state = SESSION_IDLE;
	session->doomed = false;
	session->left = 0;
	session->savepoints = 0;
	session->ddl = false;
	session->has_prepared = false;
	destroyPQExpBuffer(settings);
}

void
session_close(Session *session)
{
	PQfinish(session->conn);
	session->conn = NULL;
	session->state = SESSION_CLOSED;
}

bool
session_in_transaction(const Session *session)
{
	return PQtransactionStatus(session->conn) == PQTRANS_INTRANS ||
		session_broken_transaction(session);
}

bool
session_broken_transaction(const Session *session)
{
	return PQtransactionStatus(session->conn) == PQTRANS_INERROR;
}

int
add_record(World *world, const char *session, const char *sql)
{
	Record *record;

	if (world->nrecords == world->room_for_records)
	{
		world->room_for_records = world->room_for_records * 2 + 256;
		world->records =
			realloc(world->records, world->room_for_records * sizeof(Record));
	}
	record = &world->records[world->nrecords];
	record->session = session;
	record->sql = strdup(sql);
	record->sent = now_us();
	record->done = 0;
	record->outcome = NULL;
	return world->nrecords++;
}

void
end_record(World *world, int record, const char *outcome)
{
	world->records[record].done = now_us();
	world->records[record].outcome = strdup(outcome);
}

/* The history failed; what is said first is the most telling. */
void
fail(World *world, const char *format, ...)
{
	char text[2000];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	world->failed = true;
	appendPQExpBuffer(world->failure, "%s\n", text);
}

static void
count_error(const char *code)
{
	for (int i = 0; i < MOST_ERRORS; i++)
	{
		if (figures->errors[i].count == 0)
			snprintf(figures->errors[i].code, 6, "%s", code);
		if (strcmp(figures->errors[i].code, code) == 0)
		{
			figures->errors[i].count++;
			return;
		}
	}
}

static bool
is_expected(const Session *session, const char *code, const char *message)
{
	if (session->doomed &&
		(strncmp(code, "57P", 3) == 0 || strncmp(code, "08", 2) == 0))
		return true;
	if (strcmp(code, "57014") == 0 && strstr(message, "statement timeout"))
		return false;
	for (int i = 0; i < lengthof(expected_errors); i++)
		if (strcmp(code, expected_errors[i].code) == 0 &&
			(session->allowed & expected_errors[i].allowed) != 0)
			return true;
	return false;
}

static void
take_error(Session *session, const PGresult *result)
{
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);

	code = code ? code : "08006";
	message = message ? message : PQresultErrorMessage(result);
	session->refused = true;
	snprintf(session->error, sizeof(session->error), "%s", code);
	appendPQExpBuffer(session->outcome, "ERROR %s: %.*s", code,
					  (int) strcspn(message, "\n"), message);
	count_error(code);
	if (!is_expected(session, code, message))
		fail(session->world, "unexpected error in %s: %s: %s%s%s\n  %s",
			 session->name, code, message, context ? "\n  " : "",
			 context ? context : "", session->sql->data);
}

static void
take_result(Session *session, PGresult *result)
{
	if (session->outcome->len > 0)
		appendPQExpBufferStr(session->outcome, ", ");
	switch (PQresultStatus(result))
	{
		case PGRES_COMMAND_OK:
			appendPQExpBufferStr(session->outcome, PQcmdStatus(result));
			break;
		case PGRES_TUPLES_OK:
			appendPQExpBufferStr(session->outcome, PQcmdStatus(result));
			if (session->on_rows != NULL)
				session->on_rows(session, result);
			break;
		case PGRES_COPY_IN:
			appendPQExpBufferStr(session->outcome, "rows");
			PQputCopyData(session->conn, session->copy->data,
						  (int) session->copy->len);
			PQputCopyEnd(session->conn,
						 session->copy_breaks ? "the client gave up" : NULL);
			break;
		default:
			take_error(session, result);
			break;
	}
}

/* The operation in flight is over, or the connection is. */
static void
end_operation(Session *session)
{
	bool lost = PQstatus(session->conn) == CONNECTION_BAD;

	if (lost)
	{
		session->refused = true;
		appendPQExpBufferStr(session->outcome, " (connection lost)");
		figures->lost_connections++;
		if (!session->doomed)
			fail(session->world, "session %s lost its connection: %s",
				 session->name, PQerrorMessage(session->conn));
	}
	end_record(session->world, session->record, session->outcome->data);
	session->state = SESSION_IDLE;
	if (lost)
	{
		session_close(session);
		session_open(session);
	}
	if (session->on_done != NULL)
		session->on_done(session);
}

/*
 * session_send
 *		Start what "sql" says.  on_done and on_rows are set by the caller.
 */
void
session_send(Session *session, unsigned allowed)
{
	session->allowed = allowed | ERR_ANY;
	session->refused = false;
	session->error[0] = '\0';
	resetPQExpBuffer(session->outcome);
	session->record =
		add_record(session->world, session->name, session->sql->data);
	session->state = SESSION_BUSY;
	if (!PQsendQuery(session->conn, session->sql->data))
		end_operation(session);
}

static void
session_read(Session *session)
{
	PGresult *result;

	/* a broken connection shows in the result, too */
	(void) PQconsumeInput(session->conn);
	while (!PQisBusy(session->conn))
	{
		result = PQgetResult(session->conn);
		if (result == NULL)
		{
			end_operation(session);
			return;
		}
		take_result(session, result);
		PQclear(result);
	}
}

/*
 * sessions_wait
 *		Wait until a session hears from the server, and take it in.
 */
void
sessions_wait(World *world, int timeout_ms)
{
	struct pollfd fds[MOST_SESSIONS + lengthof(world->checkers)];
	Session *who[lengthof(fds)];
	int n = 0;

	for (int i = 0; i < world->nsessions + lengthof(world->checkers); i++)
	{
		Session *session = i < world->nsessions
			? &world->sessions[i]
			: &world->checkers[i - world->nsessions];

		if (session->state != SESSION_BUSY)
			continue;
		fds[n].fd = PQsocket(session->conn);
		fds[n].events = POLLIN;
		who[n++] = session;
	}
	if (n == 0 || poll(fds, n, timeout_ms) <= 0)
		return;
	for (int i = 0; i < n; i++)
		if (fds[i].revents != 0 && who[i]->state == SESSION_BUSY)
			session_read(who[i]);
}
