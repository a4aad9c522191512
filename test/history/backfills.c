/*-------------------------------------------------------------------------
 *
 * backfills.c
 *	  Backfills that go on beside a history, in real background workers.
 *
 * One history in FEW has them, which the seed says; --backfills gives them to
 * all.  Sessions begin them, and pause, resume, cancel, retry and alter them,
 * while they and the others do what they do anyway.  In the end all of them
 * have to be over: each chunk done, or given up for a reason that such company
 * gives.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  test/history/backfills.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include "history.h"

#define FEW 16

/* Whoever waits for more than that for workers waits in vain. */
#define PATIENCE "'50 seconds'"

/* Locks, deadlocks, another query, and what somebody has dropped. */
#define LEGITIMATE "'40001', '40P01', '55P03', '55006', '42704'"

/*
 * backfills_start
 *		Does the history of this seed have backfills?
 */
void
backfills_start(World *world)
{
	Random random;

	random_start(&random, world->seed, 2000);
	world->backfills =
		!options.gate_off && (below(&random, FEW) == 0 || options.backfills);
}

/* Workers have no options of a connection; they get those of the database. */
void
backfills_configure(const World *world, PGconn *conn)
{
	PQExpBuffer sql = createPQExpBuffer();

	appendPQExpBuffer(sql,
					  "ALTER DATABASE %s SET deadlock_timeout = '5ms';"
					  "ALTER DATABASE %s SET jit = off;",
					  world->database, world->database);
	if (features.cell_width && world->fine)
		appendPQExpBuffer(
			sql, "ALTER DATABASE %s SET aggjobs.test_cell_width = '1ms'",
			world->database);
	run_plainly(conn, sql->data);
	destroyPQExpBuffer(sql);
}

/* Long ago, for rows of this world. */
static void
append_ago(PQExpBuffer to, Session *session)
{
	const World *world = session->world;

	if (world->type == TIME_DATE)
		appendPQExpBuffer(to, "clock_timestamp() - interval '%d days'",
						  below(&session->random, 40));
	else
		appendPQExpBuffer(to, "clock_timestamp() - interval '%d milliseconds'",
						  below(&session->random, 6000));
}

static void
begin_one(Session *session)
{
	static const int drawn[] = {0, 0, 1, 2, 2, 3};
	const World *world = session->world;
	Random *random = &session->random;
	PQExpBuffer sql = session->sql;

	appendPQExpBuffer(
		sql, "SELECT aggjobs_backfill('%s', workers => %d",
		world->rollups[drawn[below(random, lengthof(drawn))]].name,
		1 + below(random, 2));
	if (chance(random, 50))
	{
		appendPQExpBufferStr(sql, ", \"from\" => ");
		append_ago(sql, session);
	}
	else if (chance(random, 30))
	{
		appendPQExpBufferStr(sql, ", \"to\" => ");
		append_ago(sql, session);
	}
	if (chance(random, 60))
		appendPQExpBuffer(sql, ", chunk => interval '%d %s'",
						  world->type == TIME_DATE ? 1 + below(random, 10)
												   : 100 + below(random, 2000),
						  world->type == TIME_DATE ? "days" : "milliseconds");
	if (chance(random, 40))
		appendPQExpBufferStr(sql, ", \"order\" => 'oldest first'");
	if (chance(random, 40))
		appendPQExpBufferStr(sql, ", parents => true");
	appendPQExpBufferStr(sql, ")");
}

/* What is done to all that are in some state. */
static const struct
{
	int weight;
	const char *sql;
} acts[] = {
	{5,
	 "SELECT aggjobs_pause_backfill(backfill_id) FROM aggjobs.backfills WHERE state = 'running'"},
	{6,
	 "SELECT aggjobs_resume_backfill(backfill_id) FROM aggjobs.backfills WHERE state = 'paused'"},
	{3,
	 "SELECT aggjobs_cancel_backfill(backfill_id) FROM aggjobs.backfills WHERE state = 'running' LIMIT 1"},
	{3,
	 "SELECT aggjobs_retry_backfill(backfill_id) FROM aggjobs.backfills WHERE state IN ('failed', 'cancelled') LIMIT 1"},
	{3,
	 "SELECT aggjobs_alter_backfill(backfill_id, 1) FROM aggjobs.backfills WHERE state = 'running'"},
	{3,
	 "SELECT aggjobs_alter_backfill(backfill_id, 2) FROM aggjobs.backfills WHERE state = 'running'"},
};

static void
act(Session *session)
{
	int sum = 0;
	int drawn;
	int i;

	for (i = 0; i < lengthof(acts); i++)
		sum += acts[i].weight;
	drawn = below(&session->random, sum);
	for (i = 0; drawn >= acts[i].weight; i++)
		drawn -= acts[i].weight;
	appendPQExpBufferStr(session->sql, acts[i].sql);
}

/*
 * backfill_some
 *		Let a session begin a backfill, or meddle with those that there are.
 */
void
backfill_some(Session *session)
{
	if (chance(&session->random, 60))
		begin_one(session);
	else
		act(session);
	session->on_done = NULL;
	session_send(session, ERR_BACKFILL);
}

/* What the backfills say of themselves goes into the failure. */
static void
show(World *world)
{
	static const char *const sql =
		"SELECT string_agg(format('    backfill %s of %s is %s, chunk %s of %s "
		"from %s to %s: %s after %s attempts, %s %s', backfill_id, name, "
		"b.state, chunk_no, rollup_name, c.\"from\", c.\"to\", c.state, "
		"attempts, sqlstate, error), E'\\n' ORDER BY backfill_id, chunk_no) "
		"FROM aggjobs.backfills b JOIN aggjobs.chunks c USING (backfill_id) "
		"WHERE c.state <> 'done'";
	PGresult *result = PQexec(world->control, sql);

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		appendPQExpBuffer(world->failure, "%s\n", PQgetvalue(result, 0, 0));
	PQclear(result);
}

/* A worker that dies is followed by another, so there may be more to wait for. */
static void
wait_for_workers(World *world)
{
	static const char *const sql =
		"WITH open AS MATERIALIZED (SELECT run_id FROM aggjobs.runs "
		"WHERE trigger IN ('backfill', 'retry') "
		"AND status IN ('queued', 'running')) "
		"SELECT count(aggjobs_wait(run_id, interval " PATIENCE ")) FROM open";

	while (ask_plainly(world->control, sql) > 0)
		if (now_us() - world->began > HISTORY_LIMIT * INT64_C(1000000))
		{
			fail(world, "workers of backfills do not end");
			break;
		}
}

/*
 * backfills_end
 *		Wait until all backfills are over, and judge them.
 */
void
backfills_end(World *world)
{
	int record;

	if (!world->backfills)
		return;
	record = add_record(world, "end", "wait for backfills");
	run_plainly(world->control,
				"SELECT aggjobs_resume_backfill(backfill_id) "
				"FROM aggjobs.backfills WHERE state = 'paused'");
	wait_for_workers(world);
	figures->backfills +=
		ask_plainly(world->control, "SELECT count(*) FROM aggjobs.backfills");
	figures->chunks +=
		ask_plainly(world->control,
					"SELECT count(*) FROM aggjobs.chunks WHERE state = 'done'");
	if (ask_plainly(
			world->control,
			"SELECT count(*) FROM aggjobs.backfills b WHERE b.state "
			"NOT IN ('succeeded', 'failed', 'cancelled') OR b.state <> "
			"'cancelled' AND EXISTS (SELECT FROM aggjobs.chunks c WHERE "
			"c.backfill_id = b.backfill_id AND c.state NOT IN ('done', "
			"'failed'))") > 0)
		fail(world, "a backfill has no worker, and chunks that are not over");
	if (ask_plainly(world->control,
					"SELECT count(*) FROM aggjobs.chunks WHERE state = "
					"'failed' AND sqlstate NOT IN (" LEGITIMATE ")") > 0)
		fail(world, "a chunk failed for a reason of its own");
	if (world->failed)
		show(world);
	else
		run_plainly(world->control, "DELETE FROM aggjobs.backfill");
	end_record(world, record, "done");
}
