/*-------------------------------------------------------------------------
 *
 * retention_rows.c
 *	  Delete old rows in batches, and count those that are left.
 *
 * The places of the rows of a batch are found first and without a lock, so
 * that only the DELETE keeps others waiting.  How many rows it gets follows
 * the time that the one before took, towards about a second.
 *
 * No state but the caller's.  Locks: those that DELETE takes, until the end of
 * the batch.  Failure: see retention.c.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/retention_rows.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "base/spi.h"
#include "catalog/source.h"
#include "portability/instr_time.h"
#include "rollup/capture.h"
#include "rollup/retention.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

/* Locks on rows are held for about so long; no batch is made smaller. */
#define AIM_SECONDS 1.0
#define SMALLEST_BATCH 100

/* So long it may take to find out how much is left. */
#define BACKLOG_MS 10000

/* The type of the time column. */
static Oid
time_type(const AjRetire *retire)
{
	AttrNumber column = get_attnum(retire->table, retire->time_column);

	if (column == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						aj_clip(retire->time_column),
						get_rel_name(retire->table)),
				 errhint("Name the time column by which rows age.")));
	return get_atttype(retire->table, column);
}

/*
 * The condition that a row of relation "alias" is older than an instant, and
 * in none of the partitions that are left to the next run.  In this form the
 * server does not even look at those.
 */
static char *
old_rows(const AjRetire *retire, const char *alias, TimestampTz line)
{
	Oid type = time_type(retire);
	AjEpoch epoch = aj_source_epoch(retire->table);
	char *column =
		psprintf("%s.%s", alias, quote_identifier(retire->time_column));
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	appendStringInfo(&text, "%s < %s", column,
					 aj_axis_literal(type, epoch, line));
	foreach (cell, retire->left)
	{
		const AjRange *range = lfirst(cell);

		appendStringInfo(&text, " AND (%s >= %s", column,
						 aj_axis_literal(type, epoch, range->to));
		if (!TIMESTAMP_IS_NOBEGIN(range->from))
			appendStringInfo(&text, " OR %s < %s", column,
							 aj_axis_literal(type, epoch, range->from));
		appendStringInfoChar(&text, ')');
	}
	return text.data;
}

/* One transaction's worth of rows. */
typedef struct Batch
{
	AjRetire *retire;
	int64 most;
	int64 rows;
	bool found;		/* rows to go */
	double seconds; /* for which they were locked */
} Batch;

/*
 * The tables and places of rows to go: of one table only, as rows of others
 * may lie in the same places.  The places are copied to "context".
 */
static Datum
find_rows(const Batch *batch, Oid *table, MemoryContext context)
{
	const AjRetire *retire = batch->retire;
	char *name = aj_qualified_name(retire->table);
	char *old = old_rows(retire, "t", retire->limit);
	MemoryContext saved;
	Datum places;
	bool isnull;

	if (aj_spi_run_once(psprintf("SELECT t.tableoid FROM %s t WHERE %s LIMIT 1",
								 name, old),
						AJ_NO_ARGS) == 0)
		return (Datum) 0;
	*table = aj_spi_oid(0, 1);
	(void) aj_spi_run_once(
		psprintf("SELECT array_agg(p.ctid) FROM (SELECT t.ctid FROM %s t"
				 " WHERE %s AND t.tableoid = $1 LIMIT $2) p",
				 name, old),
		AJ_ARGS(aj_arg_oid(*table), aj_arg_int8(batch->most)));
	places = aj_spi_datum(0, 1, &isnull);
	if (isnull)
		return (Datum) 0;
	saved = MemoryContextSwitchTo(context);
	places = PointerGetDatum(DatumGetArrayTypePCopy(places));
	MemoryContextSwitchTo(saved);
	return places;
}

/* Delete some rows without making their buckets stale. */
static void
delete_found(Batch *batch)
{
	const AjRetire *retire = batch->retire;
	MemoryContext context = CurrentMemoryContext;
	instr_time start;
	instr_time end;
	Datum places;
	Oid table;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	places = find_rows(batch, &table, context);
	batch->found = places != (Datum) 0;
	if (batch->found)
	{
		INSTR_TIME_SET_CURRENT(start);
		batch->rows = (int64) aj_spi_run_once(
			psprintf("DELETE FROM %s d WHERE d.ctid = ANY ($1)"
					 " AND d.tableoid = $2 AND %s",
					 aj_qualified_name(retire->table),
					 old_rows(retire, "d", retire->limit)),
			AJ_ARGS(aj_arg(TIDARRAYOID, places, false), aj_arg_oid(table)));
		INSTR_TIME_SET_CURRENT(end);
		INSTR_TIME_SUBTRACT(end, start);
		batch->seconds = INSTR_TIME_GET_DOUBLE(end);
		pfree(DatumGetPointer(places));
	}
	aj_spi_close(&spi);
}

static void
delete_batch(void *arg)
{
	Batch *batch = arg;

	batch->found = false;
	batch->rows = 0;
	batch->seconds = 0;
	aj_retire_freeze(batch->retire);
	if (batch->retire->limit == AJ_NO_TIME)
		return;
	aj_capture_suspend(batch->retire->table);
	PG_TRY();
	{
		delete_found(batch);
	}
	PG_FINALLY();
	{
		aj_capture_resume();
	}
	PG_END_TRY();
}

/* The next batch is to hold its locks for about the time that we aim at. */
static int64
next_size(const AjRetire *retire, const Batch *batch)
{
	double factor = AIM_SECONDS / Max(batch->seconds, 0.001);

	factor = Min(4.0, Max(0.25, factor));
	return Min(retire->batch,
			   Max(SMALLEST_BATCH, (int64) ((double) batch->most * factor)));
}

static bool
rows_are_left(AjRetire *retire)
{
	if (retire->budget == NULL || retire->budget->rows > 0)
		return true;
	retire->stopped = "max_rows";
	return false;
}

static void
give_up(AjRetire *retire, const Batch *batch, AjLimited why)
{
	if (why == AJ_LIMITED_LOCKED)
	{
		retire->stopped = "lock_timeout";
		ereport(
			WARNING,
			(errmsg(
				"old rows of table %s stay until the next run: others hold locks on it, or on what depends on it",
				aj_qualified_name(retire->table))));
		return;
	}
	retire->stopped = "statement_timeout";
	ereport(
		WARNING,
		(errmsg(
			 "old rows of table %s stay until the next run: a batch took longer than its \"statement_timeout\"",
			 aj_qualified_name(retire->table)),
		 batch->found ? 0
					  : errhint("An index on column \"%s\" finds them faster.",
								retire->time_column)));
}

/*
 * aj_retire_rows
 *		Delete the rows that may go, as far as the budget reaches.
 */
void
aj_retire_rows(AjRetire *retire)
{
	Batch batch = {.retire = retire};
	int64 size = retire->batch;

	while (rows_are_left(retire) && aj_retire_may_go_on(retire))
	{
		AjLimited done;

		batch.most = size;
		if (retire->budget != NULL)
			batch.most = Min(size, retire->budget->rows);
		done = aj_retire_piece(retire, &retire->limits, delete_batch, &batch);
		if (done == AJ_LIMITED_LATE && batch.found &&
			batch.most > SMALLEST_BATCH)
		{
			size = Max(batch.most / 10, SMALLEST_BATCH);
			continue;
		}
		if (done != AJ_LIMITED_DONE)
			give_up(retire, &batch, done);
		/* Triggers may keep rows, and others change them meanwhile. */
		else if (batch.found && batch.rows == 0)
			retire->stopped = "rows_kept";
		if (done != AJ_LIMITED_DONE || batch.rows == 0)
			return;
		retire->rows += batch.rows;
		if (retire->budget != NULL)
		{
			retire->budget->rows -= batch.rows;
			retire->budget->used = true;
		}
		size = next_size(retire, &batch);
	}
}

/*
 * aj_retire_count
 *		Count the rows before an instant, but no further than "most".
 */
int64
aj_retire_count(const AjRetire *retire, TimestampTz line, int64 most)
{
	int64 rows;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run_once(psprintf("SELECT count(*) FROM (SELECT FROM %s t"
									" WHERE %s LIMIT $1) r",
									aj_qualified_name(retire->table),
									old_rows(retire, "t", line)),
						   AJ_ARGS(aj_arg_int8(most)));
	rows = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return rows;
}

typedef struct Backlog
{
	AjRetire *retire;
	int64 rows;
} Backlog;

static void
count_backlog(void *arg)
{
	Backlog *backlog = arg;
	TimestampTz line = aj_retire_line(backlog->retire);

	if (line != AJ_NO_TIME)
		backlog->rows =
			aj_retire_count(backlog->retire, line, AJ_BACKLOG_BOUND);
}

/*
 * aj_retire_backlog
 *		How many rows are older than they should be after aj_retire(), counted
 *		up to AJ_BACKLOG_BOUND; false if that can't be found out in the limits.
 *
 * The planner's estimate would cost nothing, but after a DELETE it goes on
 * counting what is gone.
 */
bool
aj_retire_backlog(AjRetire *retire, int64 *rows)
{
	Backlog backlog = {.retire = retire};
	AjLimits limits = retire->limits;
	List *left = retire->left;
	bool known;

	if (limits.time == 0 || limits.time > BACKLOG_MS)
		limits.time = BACKLOG_MS;
	retire->left = NIL;
	known = aj_limited(&limits, count_backlog, &backlog) == AJ_LIMITED_DONE;
	retire->left = left;
	*rows = backlog.rows;
	return known;
}
