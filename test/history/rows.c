/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  Statements that change rows of the raw table, in every way there is.
 *
 * Each kind is one function and one line of the table at the end, which says
 * how often it is drawn.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/rows.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include "history.h"

static int
new_ids(Session *session, int n)
{
	int first = session->world->next_id;

	session->world->next_id += n;
	return first;
}

/* The id of a row that may be there. */
static int
old_id(Session *session)
{
	return 1 + below(&session->random, session->world->next_id);
}

static const char *
some_key(Session *session)
{
	static const char *const keys[] = {"'a'::text", "'b'::text", "'c'::text",
									   "NULL::text"};

	return keys[below(&session->random, lengthof(keys))];
}

static void
append_value(PQExpBuffer to, Session *session, const char *null)
{
	if (chance(&session->random, 8))
		appendPQExpBufferStr(to, null);
	else
		appendPQExpBuffer(to, "%d", below(&session->random, 120) - 20);
}

/* (id, t, k, v, other) */
static void
append_row(PQExpBuffer to, Session *session, int id)
{
	appendPQExpBuffer(to, "(%d, ", id);
	append_time(to, session, false);
	appendPQExpBuffer(to, ", %s, ", some_key(session));
	append_value(to, session, "NULL::integer");
	appendPQExpBufferStr(to, ", 'new')");
}

/* One row, or some that lie side by side. */
static void
append_where_id(PQExpBuffer to, Session *session)
{
	int id = old_id(session);

	if (chance(&session->random, 70))
		appendPQExpBuffer(to, " WHERE id = %d", id);
	else
		appendPQExpBuffer(to, " WHERE id BETWEEN %d AND %d", id,
						  id + below(&session->random, 5));
}

/* The rows of a piece of time. */
static void
append_where_time(PQExpBuffer to, Session *session)
{
	PQExpBuffer from = createPQExpBuffer();
	int64_t length = session->world->type == TIME_DATE
		? INT64_C(2) * 86400000000
		: INT64_C(3000) * session->world->width;

	append_time(from, session, false);
	appendPQExpBuffer(to, " WHERE t >= %s AND t < ", from->data);
	append_moved(to, session->world, from->data, "1", length);
	destroyPQExpBuffer(from);
}

static void
insert_one(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "INSERT INTO src VALUES ");
	append_row(to, session, new_ids(session, 1));
}

static void
insert_some(PQExpBuffer to, Session *session)
{
	int n = 2 + below(&session->random, 7);
	int id = new_ids(session, n);

	appendPQExpBufferStr(to, "INSERT INTO src VALUES ");
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendPQExpBufferStr(to, ", ");
		append_row(to, session, id + i);
	}
}

static void
insert_duplicate(PQExpBuffer to, Session *session)
{
	int id = new_ids(session, 1);

	appendPQExpBufferStr(to, "INSERT INTO src VALUES ");
	append_row(to, session, id);
	appendPQExpBufferStr(to, ", ");
	append_row(to, session, old_id(session));
}

static void
insert_select(PQExpBuffer to, Session *session)
{
	int n = 2 + below(&session->random, 12);
	PQExpBuffer from = createPQExpBuffer();

	append_time(from, session, false);
	appendPQExpBuffer(to, "INSERT INTO src SELECT %d + g, ",
					  new_ids(session, n));
	append_moved(to, session->world, from->data, "g",
				 random_distance(session) / 4);
	appendPQExpBuffer(to,
					  ", %s, g * 3, 'select' FROM generate_series(0, %d) AS g",
					  some_key(session), n - 1);
	destroyPQExpBuffer(from);
}

/* The rows go into the session's "copy"; \N is as good as any key. */
static void
copy_rows(PQExpBuffer to, Session *session)
{
	static const char *const keys[] = {"a", "b", "c", "\\N"};
	Random *random = &session->random;
	int n = 1 + below(random, 10);
	int id = new_ids(session, n);

	appendPQExpBufferStr(to, "COPY src FROM STDIN");
	resetPQExpBuffer(session->copy);
	session->copy_breaks = chance(random, 5);
	for (int i = 0; i < n; i++)
	{
		appendPQExpBuffer(session->copy, "%d\t", id + i);
		append_time(session->copy, session, true);
		appendPQExpBuffer(session->copy, "\t%s\t",
						  keys[below(random, lengthof(keys))]);
		append_value(session->copy, session, "\\N");
		appendPQExpBufferStr(session->copy, "\tcopied\n");
	}
}

static void
update_measure(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "UPDATE src SET v = v + 1");
	append_where_id(to, session);
}

static void
update_unread(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "UPDATE src SET other = 'updated'");
	append_where_id(to, session);
}

static void
update_nothing(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "UPDATE src SET t = t, k = k, v = v");
	append_where_id(to, session);
}

static void
update_key(PQExpBuffer to, Session *session)
{
	appendPQExpBuffer(to, "UPDATE src SET k = %s", some_key(session));
	append_where_id(to, session);
}

static void
move_time(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "UPDATE src SET t = ");
	append_moved(to, session->world, "t", "1", random_distance(session));
	append_where_id(to, session);
}

static void
move_to_time(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "UPDATE src SET v = v - 1, t = ");
	append_time(to, session, false);
	append_where_id(to, session);
}

static void
update_range(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "UPDATE src SET v = 30 - v");
	append_where_time(to, session);
}

/* More buckets than anybody would list one by one. */
static void
update_all(PQExpBuffer to, Session *session)
{
	appendPQExpBuffer(to, "UPDATE src SET v = v + 2%s",
					  chance(&session->random, 50) ? "" : " WHERE id % 3 = 0");
}

static void
delete_one(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "DELETE FROM src");
	append_where_id(to, session);
}

static void
delete_range(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "DELETE FROM src");
	if (chance(&session->random, 30))
		appendPQExpBuffer(to, " WHERE id %% 11 = %d",
						  below(&session->random, 11));
	else
		append_where_time(to, session);
}

static void
delete_and_insert(PQExpBuffer to, Session *session)
{
	appendPQExpBufferStr(to, "WITH gone AS (DELETE FROM src");
	append_where_id(to, session);
	appendPQExpBufferStr(to, " RETURNING *) INSERT INTO src SELECT id, ");
	append_moved(to, session->world, "t", "1", random_distance(session));
	appendPQExpBufferStr(to, ", k, v, 'again' FROM gone");
}

static void
merge(PQExpBuffer to, Session *session)
{
	int n = 1 + below(&session->random, 3);
	int first = old_id(session);

	appendPQExpBufferStr(to, "MERGE INTO src USING (VALUES ");
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendPQExpBufferStr(to, ", ");
		append_row(to, session, i == 0 ? new_ids(session, 1) : first + i);
	}
	appendPQExpBuffer(
		to,
		") AS d (id, t, k, v, other) ON src.id = d.id "
		"WHEN MATCHED AND d.v < 20 THEN DELETE "
		"WHEN MATCHED THEN UPDATE SET v = d.v%s "
		"WHEN NOT MATCHED THEN INSERT VALUES (d.id, d.t, d.k, d.v, 'merged')",
		chance(&session->random, 50) ? ", t = d.t" : "");
}

/* The key of a partitioned table has the time in it. */
static void
upsert(PQExpBuffer to, Session *session)
{
	if (session->world->partitioned)
	{
		appendPQExpBufferStr(
			to, "INSERT INTO src SELECT id, t, 'c', v, 'again' FROM src");
		append_where_id(to, session);
		appendPQExpBufferStr(
			to, " ON CONFLICT (id, t) DO UPDATE SET v = src.v + 5");
		return;
	}
	appendPQExpBufferStr(to, "INSERT INTO src VALUES ");
	append_row(to, session, old_id(session));
	appendPQExpBufferStr(
		to,
		chance(&session->random, 80)
			? " ON CONFLICT (id) DO UPDATE SET t = excluded.t, v = excluded.v"
			: " ON CONFLICT DO NOTHING");
}

/* A part of the transaction is undone, without a savepoint of its own. */
static void
insert_and_catch(PQExpBuffer to, Session *session)
{
	int id = new_ids(session, 3);

	appendPQExpBufferStr(to, "DO $$ BEGIN INSERT INTO src VALUES ");
	append_row(to, session, id);
	appendPQExpBufferStr(to, "; BEGIN INSERT INTO src VALUES ");
	append_row(to, session, id + 1);
	appendPQExpBufferStr(to, "; UPDATE src SET v = v + 1");
	append_where_id(to, session);
	appendPQExpBufferStr(to,
						 "; RAISE unique_violation; EXCEPTION WHEN "
						 "unique_violation THEN NULL; END; "
						 "INSERT INTO src VALUES ");
	append_row(to, session, id + 2);
	appendPQExpBufferStr(to, "; END $$");
}

static void
truncate_all(PQExpBuffer to, Session *session)
{
	session->ddl = true;
	appendPQExpBufferStr(to, "TRUNCATE src");
}

/* Commits in quick succession, each a chance to meet the horizon. */
void
append_commit_loop(PQExpBuffer to, Session *session)
{
	int n = 5 + below(&session->random, 16);

	appendPQExpBuffer(to,
					  "DO $$ BEGIN FOR i IN 0..%d LOOP "
					  "INSERT INTO src VALUES (%d + i, ",
					  n - 1, new_ids(session, n));
	append_now(to, session->world);
	appendPQExpBuffer(to, ", %s, i, 'loop'); COMMIT; END LOOP; END $$",
					  some_key(session));
}

static const struct
{
	int weight;
	void (*append)(PQExpBuffer to, Session *session);
} changes[] = {
	{22, insert_one},
	{10, insert_some},
	{6, insert_select},
	{2, insert_duplicate},
	{12, update_measure},
	{5, update_unread},
	{2, update_nothing},
	{6, update_key},
	{7, move_time},
	{6, move_to_time},
	{3, update_range},
	{1, update_all},
	{7, delete_one},
	{3, delete_range},
	{2, delete_and_insert},
	{5, merge},
	{6, upsert},
	{3, insert_and_catch},
	{1, truncate_all},
	{9, copy_rows} /* last: not always possible */
};

/*
 * append_row_change
 *		Write some statement that changes rows.
 *
 * Returns the kinds of errors it may meet.  Unless it is sent alone, COPY is
 * left out: a session has room for the rows of one.
 */
unsigned
append_row_change(PQExpBuffer to, Session *session, bool alone)
{
	int last = lengthof(changes) - (alone ? 0 : 1);
	int sum = 0;
	int i, drawn;

	for (i = 0; i < last; i++)
		sum += changes[i].weight;
	drawn = below(&session->random, sum);
	for (i = 0; drawn >= changes[i].weight; i++)
		drawn -= changes[i].weight;
	changes[i].append(to, session);
	return ERR_ROWS;
}
