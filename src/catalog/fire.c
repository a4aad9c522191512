/*-------------------------------------------------------------------------
 *
 * fire.c
 *	  Slots that are due, written down as runs.
 *
 * One statement records the slots of many jobs and plans those that follow.
 * Every slot that has passed is in some row: queued, skipped because an
 * earlier run is not over, or missed.  Sequences of slots that were skipped or
 * missed for one reason are one row with their number; a sequence that goes on
 * grows its row, as long as nothing else of the job came in between.
 *
 * State: the tables alone.  A row of aggjobs.job_state that somebody has
 * locked is left for later: nobody can stop the clock by waiting.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/fire.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/spi.h"
#include "catalog/fire.h"
#include "utils/array.h"

/* A column of an array argument: values of 8 bytes, some of them NULL. */
typedef struct Column
{
	Datum *values;
	bool *nulls;
	int n;
} Column;

static Column
column_of(int size)
{
	Column column;

	column.values = palloc(sizeof(Datum) * (Size) Max(size, 1));
	column.nulls = palloc(sizeof(bool) * (Size) Max(size, 1));
	column.n = 0;
	return column;
}

static void
add_int(Column *column, int64 value)
{
	column->values[column->n] = Int64GetDatum(value);
	column->nulls[column->n++] = false;
}

static void
add_time(Column *column, TimestampTz value)
{
	column->values[column->n] = TimestampTzGetDatum(value);
	column->nulls[column->n++] = value == AJ_NO_TIME;
}

static AjArg
arg_column(const Column *column, Oid array_type, Oid type)
{
	int n = column->n;
	int lower = 1;
	ArrayType *array =
		construct_md_array(column->values, column->nulls, 1, &n, &lower, type,
						   sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);

	return aj_arg(array_type, PointerGetDatum(array), false);
}

#define arg_ints(column) arg_column((column), INT8ARRAYOID, INT8OID)
#define arg_times(column) \
	arg_column((column), TIMESTAMPTZARRAYOID, TIMESTAMPTZOID)

/* Parameters 1 to 4 are the jobs, 5 to 9 the rows, 10 is now. */
#define FIRE                                                                  \
	"WITH fired AS (SELECT * FROM unnest($1, $2, $3, $4)"                     \
	" AS f (job_id, slot, last_slot, next_slot)),"                            \
	" free AS (SELECT s.job_id FROM fired f JOIN aggjobs.job_state s"         \
	" ON s.job_id = f.job_id AND s.next_slot = f.slot"                        \
	" FOR NO KEY UPDATE OF s SKIP LOCKED),"                                   \
	" claimed AS (UPDATE aggjobs.job_state s"                                 \
	" SET last_slot = f.last_slot, next_slot = f.next_slot"                   \
	" FROM fired f JOIN aggjobs.job j USING (job_id)"                         \
	" WHERE s.job_id = f.job_id AND s.job_id IN (SELECT job_id FROM free)"    \
	" AND j.enabled"                                                          \
	" RETURNING f.job_id, j.job_name, j.owner, j.overlap, j.catch_up),"       \
	" active AS (SELECT c.*,"                                                 \
	" EXISTS (SELECT FROM aggjobs.run r WHERE r.job_id = c.job_id"            \
	" AND r.status = 'running') AS running,"                                  \
	" EXISTS (SELECT FROM aggjobs.run r WHERE r.job_id = c.job_id"            \
	" AND r.status = 'queued') AS waiting FROM claimed c),"                   \
	" decided AS (SELECT a.job_id, a.job_name, a.owner, w.slot, w.until,"     \
	" w.slots, w.place, CASE WHEN w.fate = 2 THEN 'missed'"                   \
	" WHEN w.fate = 0 AND a.overlap = 'skip' AND (a.running OR a.waiting)"    \
	" THEN 'skipped'"                                                         \
	" WHEN w.fate = 0 AND a.overlap = 'queue' AND a.waiting THEN 'skipped'"   \
	" ELSE 'queued' END AS status,"                                           \
	" CASE WHEN w.fate = 2"                                                   \
	" THEN format('not run in time, and catch_up is \"%s\"', a.catch_up)"     \
	" WHEN w.fate = 0 AND a.overlap = 'skip' AND (a.running OR a.waiting)"    \
	" THEN 'an earlier run of the job was not over'"                          \
	" WHEN w.fate = 0 AND a.overlap = 'queue' AND a.waiting"                  \
	" THEN 'an earlier run of the job was waiting' END AS note"               \
	" FROM (SELECT v.*, row_number() OVER (PARTITION BY v.job_id"             \
	" ORDER BY v.slot) AS place FROM unnest($5, $6, $7, $8, $9)"              \
	" AS v (job_id, slot, until, slots, fate)) w"                             \
	" JOIN active a USING (job_id)),"                                         \
	" grown AS (UPDATE aggjobs.run r"                                         \
	" SET slots = r.slots + d.slots, until_slot = coalesce(d.until, d.slot)"  \
	" FROM decided d WHERE d.place = 1 AND d.status <> 'queued'"              \
	" AND r.run_id = (SELECT max(m.run_id) FROM aggjobs.run m"                \
	" WHERE m.job_id = d.job_id)"                                             \
	" AND r.status = d.status AND r.note = d.note AND r.slot < d.slot"        \
	" RETURNING d.job_id, d.slot),"                                           \
	" added AS (INSERT INTO aggjobs.run (job_id, job_name, owner, slot,"      \
	" slots, until_slot, status, trigger, triggered_by, queued_at, ended_at," \
	" note) SELECT d.job_id, d.job_name, d.owner, d.slot, d.slots, d.until,"  \
	" d.status, 'schedule', 'scheduler', $10,"                                \
	" CASE WHEN d.status <> 'queued' THEN $10 END, d.note FROM decided d"     \
	" WHERE (d.job_id, d.slot) NOT IN (SELECT g.job_id, g.slot FROM grown g)" \
	" ORDER BY d.job_id, d.slot ON CONFLICT DO NOTHING)"                      \
	" SELECT a.job_id, a.overlap = 'replace' AND (a.running OR a.waiting)"    \
	" FROM active a"

static void
take_result(AjFiredJob *jobs, int n, uint64 nclaimed)
{
	for (uint64 row = 0; row < nclaimed; row++)
	{
		int64 job_id = aj_spi_int8(row, 1, 0);

		for (int i = 0; i < n; i++)
			if (jobs[i].job_id == job_id)
			{
				jobs[i].claimed = true;
				jobs[i].is_running = aj_spi_bool(row, 2);
			}
	}
}

/*
 * aj_runs_fire
 *		Record the due slots of "n" jobs and plan the slots after them.
 *
 * A job is not claimed if it was changed, paused or dropped since its plan was
 * read, or is about to be by a transaction that is still open.
 */
void
aj_runs_fire(AjFiredJob *jobs, int n)
{
	Column ids = column_of(n);
	Column slots = column_of(n);
	Column lasts = column_of(n);
	Column nexts = column_of(n);
	Column row[5];
	int nrows = 0;
	AjSpi spi;

	for (int i = 0; i < n; i++)
		nrows += jobs[i].nrows;
	for (size_t i = 0; i < lengthof(row); i++)
		row[i] = column_of(nrows);
	for (int i = 0; i < n; i++)
	{
		jobs[i].claimed = false;
		jobs[i].is_running = false;
		add_int(&ids, jobs[i].job_id);
		add_time(&slots, jobs[i].slot);
		add_time(&lasts, jobs[i].last_slot);
		add_time(&nexts, jobs[i].next_slot);
		for (int k = 0; k < jobs[i].nrows; k++)
		{
			add_int(&row[0], jobs[i].job_id);
			add_time(&row[1], jobs[i].rows[k].slot);
			add_time(&row[2], jobs[i].rows[k].until);
			add_int(&row[3], jobs[i].rows[k].count);
			add_int(&row[4], jobs[i].rows[k].fate);
		}
	}
	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	take_result(jobs, n,
				aj_spi_run(FIRE,
						   AJ_ARGS(arg_ints(&ids), arg_times(&slots),
								   arg_times(&lasts), arg_times(&nexts),
								   arg_ints(&row[0]), arg_times(&row[1]),
								   arg_times(&row[2]), arg_ints(&row[3]),
								   arg_ints(&row[4]), aj_arg_time(aj_now()))));
	aj_spi_close(&spi);
}
