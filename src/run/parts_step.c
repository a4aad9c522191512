/*-------------------------------------------------------------------------
 *
 * parts_step.c
 *	  Step {"kind": "parts", "parts_query": SQL, "command": SQL, "workers": N}:
 *	  run a command once for each row of a query, by several workers.
 *
 * The rows are the chunks of a backfill (catalog/backfill.h), which this run
 * leads: it works at them itself, and ends when all are over.  Another attempt
 * at the run goes on with those that are not done.
 *
 * The query and the command run as the current user, with the search_path of
 * the session; in a dry run the query only for the owner of the job.  No state,
 * no locks of its own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/parts_step.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "base/settings.h"
#include "base/spi.h"
#include "catalog/chunk.h"
#include "catalog/job.h"
#include "miscadmin.h"
#include "run/backfill_work.h"
#include "run/command.h"
#include "run/part.h"
#include "utils/memutils.h"

#define MOST_PARTS 1000000
#define MOST_WORKERS 64

static const char *const keys[] = {"kind", "parts_query", "command", "workers",
								   NULL};

static char *
text_field(const Jsonb *step, const char *key)
{
	char *text = aj_json_text_field(step, key);

	if (text == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a step of kind \"parts\" needs the key \"%s\" with SQL "
					"text",
					key),
			 errhint("Write {\"kind\": \"parts\", \"parts_query\": \"SELECT "
					 "id FROM documents\", \"command\": \"CALL "
					 "reprocess($1)\"}.")));
	return text;
}

static int
wanted_workers(const Jsonb *step)
{
	char *text = aj_json_text_field(step, "workers");
	int workers;

	if (text == NULL)
		return Max(aj_max_backfill_workers, 1);
	workers = atoi(text);
	if (workers < 1 || workers > MOST_WORKERS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"workers\" must be 1 to %d, not %s", MOST_WORKERS,
						aj_clip(text)),
				 errhint("Leave it out to have "
						 "aggjobs.max_backfill_workers.")));
	return workers;
}

static void
check(const Jsonb *step)
{
	aj_command_check_query(text_field(step, "parts_query"));
	aj_command_check(text_field(step, "command"));
	(void) wanted_workers(step);
}

/* The rows of the query, and what they are. */
static Tuplestorestate *
list_parts(const Jsonb *step, MemoryContext context, TupleDesc *desc)
{
	Tuplestorestate *parts;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_SESSION);
	parts = aj_spi_query_store(text_field(step, "parts_query"), context, desc);
	aj_spi_close(&spi);
	if (tuplestore_tuple_count(parts) > MOST_PARTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("there are " INT64_FORMAT
						" parts, and at most %d can be",
						tuplestore_tuple_count(parts), MOST_PARTS),
				 errhint("Let the query list larger parts.")));
	return parts;
}

static void
plan(const Jsonb *step, const AjStepHost *host)
{
	TupleDesc desc;
	Tuplestorestate *parts;

	if (!host->may_look)
	{
		ereport(NOTICE,
				(errmsg("would run the command for each part: %s",
						text_field(step, "command")),
				 errdetail("The query that lists the parts is: %s",
						   text_field(step, "parts_query"))));
		return;
	}
	parts = list_parts(step, CurrentMemoryContext, &desc);
	(void) aj_part_work(step, desc);
	ereport(
		NOTICE,
		(errmsg("would run the command for each of " INT64_FORMAT " parts: %s",
				tuplestore_tuple_count(parts), text_field(step, "command"))));
	tuplestore_end(parts);
}

/* Store each row as a chunk. */
static void
store_parts(int64 backfill_id, Tuplestorestate *parts, TupleDesc desc)
{
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_aggjobs part",
							  ALLOCSET_SMALL_SIZES);
	MemoryContext saved = MemoryContextSwitchTo(each);
	TupleTableSlot *slot;
	AjChunk chunk = {
		.backfill_id = backfill_id,
		.kind = AJ_CHUNK_PART,
		.range = AJ_ALL_TIME,
	};

	MemoryContextSwitchTo(saved);
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	MemoryContextSwitchTo(each);
	while (tuplestore_gettupleslot(parts, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		chunk.chunk_no++;
		chunk.step = aj_part_of_row(slot);
		aj_chunk_insert(&chunk);
		MemoryContextReset(each);
	}
	MemoryContextSwitchTo(saved);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(each);
}

/* Make the backfill of this run; 0 if there are no parts. */
static int64
begin(const Jsonb *step, const AjStepHost *host)
{
	AjJob *job = aj_job_get(host->job_id);
	AjBackfillOwner owner = {
		.owner = job->owner,
		.owner_name = job->owner_name,
		.job_id = job->job_id,
	};
	AjBackfill backfill = {
		.name = job->name,
		.range = AJ_ALL_TIME,
		.run_id = host->run_id,
	};
	TupleDesc desc;
	Tuplestorestate *parts = list_parts(step, CurrentMemoryContext, &desc);
	int64 n = tuplestore_tuple_count(parts);

	backfill.step = aj_part_work(step, desc);
	if (n > 0)
	{
		backfill.workers = (int) Min(wanted_workers(step), n);
		(void) aj_backfill_begin(&backfill, NIL, &owner);
		store_parts(backfill.backfill_id, parts, desc);
	}
	tuplestore_end(parts);
	return backfill.backfill_id;
}

/* The SQLSTATE of a run whose parts have failed with this one. */
static int
sqlstate_of_run(const char *part)
{
	int sqlstate = MAKE_SQLSTATE(part[0], part[1], part[2], part[3], part[4]);

	return sqlstate == ERRCODE_QUERY_CANCELED ? ERRCODE_AJ_PARTS_TIMED_OUT
											  : sqlstate;
}

static void
complain_of_failures(int64 backfill_id, int chunks)
{
	int failed;
	char *sqlstate;
	char *error = aj_backfill_first_error(backfill_id, &failed, &sqlstate);

	if (error == NULL)
		return;
	ereport(ERROR,
			(errcode(sqlstate_of_run(sqlstate)),
			 errmsg("%d of %d parts failed", failed, chunks),
			 errdetail("The first error is: %s", error),
			 errhint("See SELECT step, error FROM aggjobs.chunks WHERE "
					 "backfill_id = " INT64_FORMAT
					 " AND state = 'failed'; aggjobs_retry(run_id) tries "
					 "them again.",
					 backfill_id)));
}

static void
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	AjBackfillTally tally = {0};
	int64 backfill_id;
	int chunks = 0;
	int done;
	char *state;

	if (!host->in_worker)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a step of kind \"parts\" can't be run in a session"),
				 errhint("Start the job with SELECT aggjobs_trigger(name).")));
	backfill_id = aj_backfill_go_on(host, step);
	if (backfill_id == 0)
		backfill_id = begin(step, host);
	host->commit(host);
	aj_json_add_int(result, "backfill", backfill_id);
	if (backfill_id != 0)
	{
		state = aj_backfill_lead(host, backfill_id, &tally);
		done = aj_backfill_done_latest(backfill_id, &chunks);
		if (state != NULL && strcmp(state, "failed") == 0)
			complain_of_failures(backfill_id, chunks);
		if (state == NULL || strcmp(state, "succeeded") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("the backfill of the parts was cancelled"),
					 errdetail("%d of %d parts are done.", done, chunks)));
	}
	aj_json_add_int(result, "parts", chunks);
	aj_json_add_int(result, "parts_of_this_worker", tally.chunks);
	aj_json_add_int(result, "failures", tally.failures);
}

const AjStepKind aj_step_parts = {
	.name = "parts",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
};
