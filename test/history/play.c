/*-------------------------------------------------------------------------
 *
 * play.c
 *	  One history from its beginning to its end.
 *
 * While operations are left, every idle session is given one; then all
 * transactions end, the rollups are refreshed, and everything has to be equal
 * with nothing left to do.  A history that takes too long has failed, since
 * no statement in it has a reason to wait for more than some milliseconds.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/play.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>

#include "history.h"

/* Histories that are shown in full, of each worker. */
#define MOST_SHOWN 2

static void
start(World *world, uint64_t seed)
{
	world->seed = seed;
	world->operations = 0;
	world->next_check = 5;
	world->failed = world->differs = false;
	world->ending = world->refreshed = false;
	world->urgent[0] = '\0';
	memset(world->prepared, 0, sizeof(world->prepared));
	for (int i = 0; i < MOST_PARTS; i++)
		world->attached[i] = true;
	resetPQExpBuffer(world->failure);
	random_start(&world->random, seed, 0);
	for (int i = 0; i < world->nsessions; i++)
	{
		random_start(&world->sessions[i].random, seed, i + 1);
		world->sessions[i].wait_until = 0;
	}
	for (int i = 0; i < lengthof(world->checkers); i++)
	{
		random_start(&world->checkers[i].random, seed, 100 + i);
		world->checkers[i].held_until = 0;
	}
	world->next_crash =
		options.crash ? 20 + below(&world->random, options.operations) : -1;
	backfills_start(world);
	world_clear(world);
	world->began = now_us();
}

/* An idle session that is not resting; in need, one that is. */
static Session *
pick(World *world)
{
	Session *resting = NULL;
	int first = below(&world->random, world->nsessions);
	int busy = 0;

	for (int i = 0; i < world->nsessions; i++)
	{
		Session *session = &world->sessions[(first + i) % world->nsessions];

		if (session->state == SESSION_BUSY)
			busy++;
		else if (session->wait_until <= world->operations)
			return session;
		else
			resting = session;
	}
	return busy == 0 ? resting : NULL;
}

/* What the server was doing goes into the failure. */
static void
show_activity(World *world)
{
	static const char *const sql =
		"SELECT string_agg(format('    %s pid %s %s, waits for %s %s, "
		"blocked by %s: %s', application_name, pid, state, wait_event_type, "
		"wait_event, pg_blocking_pids(pid), left(query, 300)), E'\\n') "
		"FROM pg_stat_activity WHERE datname = current_database()";
	PGresult *result = PQexec(world->control, sql);

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		appendPQExpBuffer(world->failure, "%s\n", PQgetvalue(result, 0, 0));
	PQclear(result);
}

static bool
is_late(World *world)
{
	if (now_us() - world->began < HISTORY_LIMIT * INT64_C(1000000))
		return false;
	fail(world, "the history hangs: it takes more than %d seconds",
		 HISTORY_LIMIT);
	show_activity(world);
	return true;
}

static void
run_operations(World *world)
{
	while (world->operations < options.operations && !world->failed)
	{
		Session *session;

		if (world->operations == world->next_crash)
		{
			world->next_crash += 20 + below(&world->random, options.operations);
			server_crash(world);
		}
		checks_start(world);
		session = pick(world);
		if (session != NULL)
		{
			world->operations++;
			next_operation(session);
			sessions_wait(world, 0);
		}
		else
			sessions_wait(world, 1000);
		if (is_late(world))
			break;
	}
}

static void
wait_for_all(World *world)
{
	for (int i = 0; i < world->nsessions; i++)
		while (world->sessions[i].state == SESSION_BUSY)
		{
			sessions_wait(world, 1000);
			if (is_late(world))
				return;
		}
}

/* Open transactions end, and so do prepared ones, known or not. */
static void
end_transactions(World *world)
{
	wait_for_all(world);
	for (int i = 0; i < world->nsessions && !is_late(world); i++)
	{
		Session *session = &world->sessions[i];

		if (!session_in_transaction(session))
			continue;
		resetPQExpBuffer(session->sql);
		session->on_rows = NULL;
		end_transaction(session);
		wait_for_all(world);
	}
}

/* Those the history knows of and those whose PREPARE was not answered. */
static void
end_prepared_transactions(World *world)
{
	static const char *const sql =
		"SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
	PGresult *found = PQexec(world->control, sql);
	PQExpBuffer end = createPQExpBuffer();

	for (int i = 0; i < PQntuples(found); i++)
	{
		int record;

		resetPQExpBuffer(end);
		appendPQExpBuffer(end, "%s PREPARED '%s'",
						  chance(&world->random, 70) ? "COMMIT" : "ROLLBACK",
						  PQgetvalue(found, i, 0));
		record = add_record(world, "end", end->data);
		run_plainly(world->control, end->data);
		end_record(world, record, "done");
	}
	PQclear(found);
	destroyPQExpBuffer(end);
}

/* While a detachment is under way, what it concerns is never done with. */
static void
end_detachment(World *world)
{
	PQExpBuffer finish = createPQExpBuffer();
	int record;

	parts_finish(finish);
	record = add_record(world, "end", finish->data);
	run_plainly(world->control, finish->data);
	end_record(world, record, "done");
	destroyPQExpBuffer(finish);
}

/* A refresh may still meet autovacuum or the like: once more, then. */
static void
refresh_all(World *world)
{
	Session *session = &world->sessions[0];

	for (int i = 0; i < world->nrollups && !world->failed; i++)
		for (int attempt = 0;; attempt++)
		{
			resetPQExpBuffer(session->sql);
			session->on_rows = NULL;
			refresh(session, i);
			wait_for_all(world);
			if (!session->refused || world->failed)
				break;
			if (attempt == 10)
			{
				fail(world, "the last refresh of \"%s\" does not work: %s",
					 world->rollups[i].name, session->outcome->data);
				break;
			}
		}
}

static void
finish(World *world)
{
	world->ending = true;
	checks_end(world);
	end_transactions(world);
	end_prepared_transactions(world);
	if (!world->failed)
		check_at_the_end(world);
	if (world->partitioned && !world->failed)
		end_detachment(world);
	if (!world->failed)
		backfills_end(world);
	if (!world->failed)
		rollups_give_up_altering(world);
	if (!world->failed)
		refresh_all(world);
	world->refreshed = true;
	if (!world->failed)
		check_at_the_end(world);
}

/* ------------------------------------------------------------------ report */

static const char *
describe(const World *world)
{
	static const char *const types[] = {
		[TIME_TIMESTAMPTZ] = "timestamptz",
		[TIME_TIMESTAMP] = "timestamp",
		[TIME_DATE] = "date",
		[TIME_BIGINT] = "bigint",
	};
	static char text[200];

	snprintf(text, sizeof(text), "%s%s%s of %s, buckets of %d %s",
			 world->partitioned ? "partitions" : "a table",
			 world->has_default ? " with a default" : "",
			 world->has_gap ? " with a gap" : "", types[world->type],
			 world->width, world->type == TIME_DATE ? "day" : "ms");
	return text;
}

static void
append_records(PQExpBuffer to, const World *world)
{
	for (int i = 0; i < world->nrecords; i++)
	{
		const Record *record = &world->records[i];

		appendPQExpBuffer(to, "#%d %s at %.3f ms", i + 1, record->session,
						  (double) (record->sent - world->began) / 1000);
		if (record->done != 0)
			appendPQExpBuffer(to, " to %.3f ms",
							  (double) (record->done - world->began) / 1000);
		appendPQExpBuffer(to, "\n    %s\n    -> %s\n", record->sql,
						  record->outcome ? record->outcome : "(no answer)");
	}
}

/* Once it failed, or if everything is to be shown. */
static void
report(World *world)
{
	PQExpBuffer text = createPQExpBuffer();
	bool in_full = options.show;

	if (world->failed && figures->failed++ < MOST_SHOWN)
		in_full = true;
	appendPQExpBuffer(text, "%s seed %" PRIu64 ": %s\n",
					  !world->failed				 ? "ok"
						  : options.until_difference ? "found"
													 : "FAIL",
					  world->seed, describe(world));
	if (in_full)
	{
		for (int i = 0; i < world->nrollups; i++)
			appendPQExpBuffer(text, "%s: %s\n", world->rollups[i].name,
							  world->rollups[i].query);
		append_records(text, world);
	}
	if (world->failed)
		appendPQExpBuffer(text,
						  "what is wrong:\n%s"
						  "again: test/history/run --seed %" PRIu64
						  " --histories 1 --ops %d --sessions %d%s%s%s%s\n",
						  world->failure->data, world->seed, options.operations,
						  options.sessions,
						  options.gate_off ? " --gate off" : "",
						  options.crash ? " --crash" : "",
						  options.own_writes ? " --own-writes" : "",
						  options.backfills ? " --backfills" : "");
	announce(text->data);
	destroyPQExpBuffer(text);
}

static void
forget_records(World *world)
{
	for (int i = 0; i < world->nrecords; i++)
	{
		free(world->records[i].sql);
		free(world->records[i].outcome);
	}
	world->nrecords = 0;
}

/*
 * play
 *		Play the history of a seed in a world that fits it.
 *
 * Afterwards "failed" says whether something was wrong; then the world is of
 * no use any more.
 */
void
play(World *world, uint64_t seed)
{
	start(world, seed);
	run_operations(world);
	if (!world->failed)
		finish(world);
	figures->histories++;
	figures->operations += world->operations;
	if (world->failed || options.show)
		report(world);
	if (world->failed && !options.keep)
		end_prepared_transactions(world);
	forget_records(world);
}
