/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Remove old rows without destroying what was computed from them.
 *
 * Rows of a source go only below what all of its rollups have computed, and
 * the frozen line moves up in the same transaction as the first rows go, so
 * that nothing is ever computed again from rows that are missing.  Rows go in
 * batches, each in its own transaction where the caller allows it.
 *
 * Runs with the rights of the current user, who must be able to delete from
 * the table.  No locks but the server's own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/retention.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "miscadmin.h"
#include "rollup/capture.h"
#include "rollup/retention.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define BATCH 10000

static char *
qualified_name(Oid table)
{
	return quote_qualified_identifier(
		get_namespace_name(get_rel_namespace(table)), get_rel_name(table));
}

/* Delete some rows without making their buckets stale. */
static int64
delete_batch(Oid table, const char *sql, TimestampTz limit)
{
	volatile uint64 rows = 0;

	CHECK_FOR_INTERRUPTS();
	aj_capture_suspend(table);
	PG_TRY();
	{
		AjSpi spi;

		aj_spi_open(&spi, AJ_RIGHTS_CALLER);
		rows = aj_spi_run_once(sql,
							   AJ_ARGS(aj_arg_time(limit), aj_arg_int8(BATCH)));
		aj_spi_close(&spi);
	}
	PG_FINALLY();
	{
		aj_capture_resume();
	}
	PG_END_TRY();
	return (int64) rows;
}

/*
 * aj_retire
 *		Delete the rows of a table whose time lies before retire->before, or
 *		before what may go without a loss if that is less.
 *
 * Errors: whatever the DELETE raises, 42501 for one.
 */
void
aj_retire(AjRetire *retire)
{
	char *table = qualified_name(retire->table);
	const char *column = quote_identifier(retire->time_column);
	char *sql;
	int64 rows;

	/* Partitions have rows of the same ctid: the age is asked of each. */
	sql = psprintf("DELETE FROM %s d WHERE d.ctid = ANY (ARRAY(SELECT t.ctid"
				   " FROM %s t WHERE t.%s < $1 LIMIT $2)) AND d.%s < $1",
				   table, table, column, column);
	retire->rows = 0;
	aj_rollup_lock_all_of(retire->table);
	retire->limit = aj_rollup_retire_limit(retire->table, retire->before);
	if (retire->limit == AJ_NO_TIME)
		return;
	aj_rollup_freeze(retire->table, retire->limit);
	do
	{
		rows = delete_batch(retire->table, sql, retire->limit);
		retire->rows += rows;
		if (retire->commit != NULL)
			retire->commit(retire->commit_arg);
	} while (rows > 0);
}

/* How many rows aj_retire() would delete; changes nothing. */
int64
aj_retire_plan(AjRetire *retire)
{
	AjSpi spi;
	char *sql;
	int64 rows;

	retire->limit = aj_rollup_retire_limit(retire->table, retire->before);
	if (retire->limit == AJ_NO_TIME)
		return 0;
	sql = psprintf("SELECT count(*) FROM %s t WHERE t.%s < $1",
				   qualified_name(retire->table),
				   quote_identifier(retire->time_column));
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run_once(sql, AJ_ARGS(aj_arg_time(retire->limit)));
	rows = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return rows;
}
