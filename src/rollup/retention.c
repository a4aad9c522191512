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

#include "base/errors.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "catalog/source.h"
#include "miscadmin.h"
#include "rollup/capture.h"
#include "rollup/capture_install.h"
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

/*
 * Up to which instant, not after "wanted", rows of a rollup's source may go
 * without a loss to it: the start of a bucket, not after the horizon, nor
 * after a range that is still to be computed.  AJ_NO_TIME if nothing may go.
 */
static TimestampTz
limit_of(const AjRollup *rollup, TimestampTz wanted)
{
	TimestampTz limit = wanted;
	TimestampTz start;
	AjRange *dirty;
	int n;

	if (rollup->horizon == AJ_NO_TIME)
		return AJ_NO_TIME;
	limit = Min(limit, rollup->horizon);
	dirty = aj_dirty_of(rollup, false, &n);
	for (int i = 0; i < n; i++)
	{
		/* What is frozen already is never computed again. */
		if (rollup->frozen_before == AJ_NO_TIME ||
			dirty[i].to > rollup->frozen_before)
			limit = Min(limit, dirty[i].from);
	}
	start = aj_bucket_start(&rollup->bucket, limit);
	return TIMESTAMP_IS_NOBEGIN(start) ? AJ_NO_TIME : start;
}

/*
 * The same for all rollups of a source; "wanted" itself if it has none.
 */
static TimestampTz
retire_limit(Oid source, TimestampTz wanted)
{
	int n;
	AjRollup **rollups = aj_rollups_of(source, &n);
	TimestampTz limit = wanted;

	for (int i = 0; i < n; i++)
	{
		limit = limit_of(rollups[i], limit);
		if (limit == AJ_NO_TIME)
			break;
	}
	return limit;
}

/*
 * Rows of a source before an instant are gone for good: its rollups keep what
 * they have there, the bucket that holds the instant included.
 */
static void
freeze(Oid source, TimestampTz before)
{
	int n;
	AjRollup **rollups = aj_rollups_of(source, &n);

	for (int i = 0; i < n; i++)
	{
		TimestampTz line = aj_bucket_start(&rollups[i]->bucket, before);

		if (line < before)
			line = aj_bucket_end(&rollups[i]->bucket, before);
		aj_rollup_set_frozen(rollups[i], line);
	}
}

/* Delete some rows without making their buckets stale. */
static int64
delete_batch(Oid table, const char *sql)
{
	volatile uint64 rows = 0;

	CHECK_FOR_INTERRUPTS();
	aj_capture_suspend(table);
	PG_TRY();
	{
		AjSpi spi;

		aj_spi_open(&spi, AJ_RIGHTS_CALLER);
		rows = aj_spi_run_once(sql, AJ_ARGS(aj_arg_int8(BATCH)));
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
 * Drop the partitions that hold nothing but rows to go.  Their rows count as
 * retired: what is noted about a partition that goes is forgotten with it.
 */
static void
drop_partitions(AjRetire *retire)
{
	int n;
	AjPart *parts = aj_source_parts(retire->table, false, &n);

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (parts[i].range.to > retire->limit ||
			get_rel_name(parts[i].part) == NULL)
			continue;
		aj_source_delete_part(retire->table, parts[i].part);
		aj_caller_command(
			psprintf("DROP TABLE %s", qualified_name(parts[i].part)));
		retire->partitions++;
	}
}

/* retire->limit as a literal of the time column's type. */
static char *
limit_literal(const AjRetire *retire)
{
	AjSource *source = aj_source_find(retire->table);
	AttrNumber column = get_attnum(retire->table, retire->time_column);

	if (column == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						aj_clip(retire->time_column),
						get_rel_name(retire->table)),
				 errhint("Name the time column by which rows age.")));
	return aj_axis_literal(get_atttype(retire->table, column),
						   source == NULL ? AJ_EPOCH_SECOND : source->epoch,
						   retire->limit);
}

static void
delete_rows(AjRetire *retire)
{
	char *table = qualified_name(retire->table);
	const char *column = quote_identifier(retire->time_column);
	char *limit = limit_literal(retire);
	char *sql;
	int64 rows;

	/* Partitions have rows of the same ctid: the age is asked of each. */
	sql = psprintf("DELETE FROM %s d WHERE d.ctid = ANY (ARRAY(SELECT t.ctid"
				   " FROM %s t WHERE t.%s < %s LIMIT $1)) AND d.%s < %s",
				   table, table, column, limit, column, limit);
	do
	{
		rows = delete_batch(retire->table, sql);
		retire->rows += rows;
		if (retire->commit != NULL)
			retire->commit(retire->commit_arg);
	} while (rows > 0);
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
	retire->rows = 0;
	retire->partitions = 0;
	if (pg_class_aclcheck(retire->table, GetUserId(), ACL_DELETE) !=
		ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   get_rel_name(retire->table));
	if (aj_source_exists(retire->table))
	{
		/* What is known to have changed is counted in before it is frozen. */
		aj_capture_mend(retire->table);
		aj_capture_absorb(retire->table);
	}
	aj_rollup_lock_all_of(retire->table);
	retire->limit = retire_limit(retire->table, retire->before);
	if (retire->limit == AJ_NO_TIME)
		return;
	freeze(retire->table, retire->limit);
	if (retire->keep_rows)
		return;
	drop_partitions(retire);
	delete_rows(retire);
}

/* How many rows aj_retire() would delete; changes nothing. */
int64
aj_retire_plan(AjRetire *retire)
{
	AjSpi spi;
	char *sql;
	int64 rows;

	retire->limit = retire_limit(retire->table, retire->before);
	if (retire->limit == AJ_NO_TIME)
		return 0;
	sql =
		psprintf("SELECT count(*) FROM %s t WHERE t.%s < %s",
				 qualified_name(retire->table),
				 quote_identifier(retire->time_column), limit_literal(retire));
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run_once(sql, AJ_NO_ARGS);
	rows = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return rows;
}
