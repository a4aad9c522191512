/*-------------------------------------------------------------------------
 *
 * rollup.c
 *	  aggjobs.rollup, change and stale: what is derived, and what is out of
 *	  date.
 *
 * A transaction that writes a source appends a change row of its own, so
 * writers never wait for one another here.  A refresh first turns the change
 * rows of the source into stale rows of every rollup of it, in a short
 * transaction, and then works off the stale rows of its rollup.
 *
 * Locks: aj_rollup_lock() takes the row of a rollup until the end of the
 * transaction, so that one refresh at a time takes its stale rows.  Nothing
 * that writers do waits for that row.
 *
 * Every function needs a transaction and works with the rights of the
 * extension's owner; results live in the caller's memory context.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/rollup.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "base/spi.h"
#include "catalog/rollup.h"

#define ROLLUP_COLUMNS                                            \
	"SELECT r.rollup_id, r.rollup_name, r.target::oid,"           \
	" format('%I.%I', tn.nspname, t.relname), r.source::oid,"     \
	" format('%I.%I', sn.nspname, s.relname),"                    \
	" coalesce(r.source_rollup, 0), quote_ident(r.time_column),"  \
	" r.unit, r.time_zone, r.query, st.horizon, st.frozen_before" \
	" FROM aggjobs.rollup r"                                      \
	" LEFT JOIN aggjobs.rollup_state st USING (rollup_name)"      \
	" JOIN pg_class t ON t.oid = r.target"                        \
	" JOIN pg_namespace tn ON tn.oid = t.relnamespace"            \
	" JOIN pg_class s ON s.oid = r.source"                        \
	" JOIN pg_namespace sn ON sn.oid = s.relnamespace"

/* Start of the bucket that holds an instant, and of the one after it. */
#define BUCKET_START(t) "date_trunc(r.unit, " t ", r.time_zone)"
#define NEXT_BUCKET(t)                                                  \
	"((date_trunc(r.unit, " t ", r.time_zone) AT TIME ZONE r.time_zone" \
	" + ('1 ' || r.unit)::interval) AT TIME ZONE r.time_zone)"

/* The end of the bucket up to which a range that ends at t reaches. */
#define BUCKET_END(t)                               \
	"CASE WHEN " BUCKET_START(t) " = " t " THEN " t \
								 " ELSE " NEXT_BUCKET(t) " END"

static AjRollup *
read_rollup(MemoryContext context)
{
	AjRollup *rollup = MemoryContextAllocZero(context, sizeof(AjRollup));

	rollup->rollup_id = aj_spi_int8(0, 1, 0);
	rollup->name = aj_spi_text(0, 2, context);
	rollup->target = aj_spi_oid(0, 3);
	rollup->target_name = aj_spi_text(0, 4, context);
	rollup->source = aj_spi_oid(0, 5);
	rollup->source_name = aj_spi_text(0, 6, context);
	rollup->source_rollup = aj_spi_int8(0, 7, 0);
	rollup->time_column = aj_spi_text(0, 8, context);
	rollup->unit = aj_spi_text(0, 9, context);
	rollup->time_zone = aj_spi_text(0, 10, context);
	rollup->query = aj_spi_text(0, 11, context);
	rollup->horizon = aj_spi_time(0, 12, AJ_NO_TIME);
	rollup->frozen_before = aj_spi_time(0, 13, AJ_NO_TIME);
	return rollup;
}

/*
 * aj_rollup_find
 *		The rollup of this name; if there is none, NULL or error 42704.
 *
 * A rollup whose source or target was dropped counts as missing.
 */
AjRollup *
aj_rollup_find(const char *name, bool missing_ok)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjRollup *rollup = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run(ROLLUP_COLUMNS " WHERE r.rollup_name = $1",
				   AJ_ARGS(aj_arg_text(name))) > 0)
		rollup = read_rollup(context);
	aj_spi_close(&spi);
	if (rollup == NULL && !missing_ok)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("rollup \"%s\" does not exist, or its table was dropped",
					aj_clip(name)),
			 errhint(
				 "List the rollups with SELECT rollup_name FROM aggjobs.rollups.")));
	return rollup;
}

/* The rollup with this id; an error if it or its tables are gone. */
AjRollup *
aj_rollup_get(int64 rollup_id)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjRollup *rollup = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run(ROLLUP_COLUMNS " WHERE r.rollup_id = $1",
				   AJ_ARGS(aj_arg_int8(rollup_id))) > 0)
		rollup = read_rollup(context);
	aj_spi_close(&spi);
	if (rollup == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("rollup " INT64_FORMAT
						" does not exist, or its table was dropped",
						rollup_id)));
	return rollup;
}

/*
 * aj_rollup_lock
 *		Keep other refreshes of a rollup, and retention of its source, waiting
 *		until the transaction ends; the frozen line in *rollup is then the one
 *		that counts.
 */
void
aj_rollup_lock(AjRollup *rollup)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run("SELECT FROM aggjobs.rollup r"
					  " WHERE r.rollup_id = $1 FOR NO KEY UPDATE",
					  AJ_ARGS(aj_arg_int8(rollup->rollup_id)));
	if (aj_spi_run("SELECT st.frozen_before FROM aggjobs.rollup_state st"
				   " WHERE st.rollup_name = $1",
				   AJ_ARGS(aj_arg_text(rollup->name))) > 0)
		rollup->frozen_before = aj_spi_time(0, 1, AJ_NO_TIME);
	aj_spi_close(&spi);
}

/* Keep refreshes of all rollups of a source waiting. */
void
aj_rollup_lock_all_of(Oid source)
{
	(void) aj_catalog_run("SELECT FROM aggjobs.rollup r WHERE r.source = $1"
						  " ORDER BY r.rollup_id FOR NO KEY UPDATE",
						  AJ_ARGS(aj_arg_oid(source)));
}

/* The bucket of a rollup that holds an instant. */
AjRange
aj_rollup_bucket(const AjRollup *rollup, TimestampTz at)
{
	AjSpi spi;
	AjRange range;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run("SELECT " BUCKET_START("$1") ", " NEXT_BUCKET(
						  "$1") " FROM (SELECT $2 AS unit, $3 AS time_zone) r",
					  AJ_ARGS(aj_arg_time(at), aj_arg_text(rollup->unit),
							  aj_arg_text(rollup->time_zone)));
	range.from = aj_spi_time(0, 1, AJ_NO_TIME);
	range.to = aj_spi_time(0, 2, AJ_NO_TIME);
	aj_spi_close(&spi);
	return range;
}

/* Everything that ends at or before "horizon" is computed; never goes back. */
void
aj_rollup_set_horizon(int64 rollup_id, TimestampTz horizon)
{
	(void) aj_catalog_run("INSERT INTO aggjobs.rollup_state AS st"
						  " (rollup_name, horizon)"
						  " SELECT r.rollup_name, $2 FROM aggjobs.rollup r"
						  " WHERE r.rollup_id = $1"
						  " ON CONFLICT (rollup_name) DO UPDATE"
						  " SET horizon = excluded.horizon"
						  " WHERE st.horizon IS NULL"
						  " OR st.horizon < excluded.horizon",
						  AJ_ARGS(aj_arg_int8(rollup_id),
								  aj_arg_time(horizon)));
}

/*
 * aj_rollup_freeze
 *		Rows of a source before an instant are gone for good: its rollups
 *		keep what they have there, the bucket that holds the instant included.
 */
void
aj_rollup_freeze(Oid source, TimestampTz before)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.rollup_state AS st"
		" (rollup_name, frozen_before)"
		" SELECT r.rollup_name, " BUCKET_END(
			"$2") " FROM aggjobs.rollup r WHERE r.source = $1"
				  " ON CONFLICT (rollup_name) DO UPDATE"
				  " SET frozen_before = excluded.frozen_before"
				  " WHERE st.frozen_before IS NULL"
				  " OR st.frozen_before < excluded.frozen_before",
		AJ_ARGS(aj_arg_oid(source), aj_arg_time(before)));
}

/*
 * aj_rollup_retire_limit
 *		Up to which instant, not after "wanted", rows of a source may go
 *		without a loss: the start of a bucket of every rollup of it, not after
 *		any horizon, nor after a range that is still to be computed.
 *
 * AJ_NO_TIME if nothing may go; "wanted" itself if no rollup has this source.
 */
TimestampTz
aj_rollup_retire_limit(Oid source, TimestampTz wanted)
{
	AjSpi spi;
	TimestampTz limit;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run(
		"SELECT CASE WHEN count(*) = 0 THEN $2"
		" WHEN bool_or(st.horizon IS NULL) THEN NULL"
		" ELSE min(" BUCKET_START(
			"least($2, st.horizon,"
			" (SELECT min(c.from_time) FROM aggjobs.change c"
			" WHERE c.source = $1),"
			" (SELECT min(s.from_time) FROM aggjobs.stale s"
			" WHERE s.rollup_id = r.rollup_id))") ") END FROM aggjobs.rollup r"
												  " LEFT JOIN aggjobs.rollup_state st USING (rollup_name)"
												  " WHERE r.source = $1",
		AJ_ARGS(aj_arg_oid(source), aj_arg_time(wanted)));
	limit = aj_spi_time(0, 1, AJ_NO_TIME);
	aj_spi_close(&spi);
	return limit;
}

/* The time column from which rollups of this table are computed, or NULL. */
char *
aj_rollup_time_column(Oid source)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *column = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT r.time_column::text FROM aggjobs.rollup r"
				   " WHERE r.source = $1 LIMIT 1",
				   AJ_ARGS(aj_arg_oid(source))) > 0)
		column = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	return column;
}

/* A transaction wrote rows of a source within [from, to). */
void
aj_change_add(Oid source, TimestampTz from, TimestampTz to)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.change (source, from_time, to_time)"
		" VALUES ($1, $2, $3)",
		AJ_ARGS(aj_arg_oid(source), aj_arg_time(from), aj_arg_time(to)));
}

/*
 * aj_change_absorb
 *		Turn the change rows of a source into stale rows of its rollups;
 *		returns how many stale rows came of it.
 */
uint64
aj_change_absorb(Oid source)
{
	return aj_catalog_run(
		"WITH moved AS (DELETE FROM aggjobs.change c"
		" WHERE c.source = $1"
		" RETURNING c.from_time, c.to_time)"
		" INSERT INTO aggjobs.stale (rollup_id, from_time, to_time)"
		" SELECT DISTINCT r.rollup_id, " BUCKET_START("m.from_time") ", " BUCKET_END(
			"m.to_time") " FROM moved m, aggjobs.rollup r WHERE r.source = $1",
		AJ_ARGS(aj_arg_oid(source)));
}

/* Run a statement that returns ranges, and copy them. */
static AjRange *
read_ranges(const char *sql, const AjRollup *rollup, AjRange within, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjRange *ranges;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run(sql,
						  AJ_ARGS(aj_arg_int8(rollup->rollup_id),
								  aj_arg_time(within.from),
								  aj_arg_time(within.to)));
	ranges = MemoryContextAlloc(context, sizeof(AjRange) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		ranges[i].from = aj_spi_time((uint64) i, 1, AJ_NO_TIME);
		ranges[i].to = aj_spi_time((uint64) i, 2, AJ_NO_TIME);
	}
	aj_spi_close(&spi);
	return ranges;
}

/* Merge the ranges of "x", cut to [$2, $3). */
#define MERGED_RANGES(x)                                                     \
	"SELECT lower(m), upper(m) FROM unnest((SELECT"                          \
	" range_agg(tstzrange(greatest(x.from_time, $2), least(x.to_time, $3)))" \
	" FROM (" x ") x WHERE x.from_time < $3 AND x.to_time > $2)) m"          \
	" ORDER BY 1 DESC"

#define STALE_RANGES \
	"SELECT s.from_time, s.to_time FROM aggjobs.stale s WHERE s.rollup_id = $1"

/* Change rows as the ranges that they will become. */
#define COMING_RANGES                                                  \
	"SELECT " BUCKET_START("c.from_time") ", " BUCKET_END(             \
		"c.to_time") " FROM aggjobs.change c, aggjobs.rollup r"        \
					 " WHERE r.rollup_id = $1 AND c.source = r.source" \
					 " AND r.source_rollup IS NULL"

/*
 * aj_stale_ranges
 *		The stale ranges of a rollup within a range, cut to it, merged and in
 *		order, the newest first.
 */
AjRange *
aj_stale_ranges(const AjRollup *rollup, AjRange within, int *n)
{
	return read_ranges(MERGED_RANGES(STALE_RANGES), rollup, within, n);
}

/* The same, with the changes that have not become stale ranges yet. */
AjRange *
aj_stale_ranges_to_come(const AjRollup *rollup, AjRange within, int *n)
{
	return read_ranges(MERGED_RANGES(STALE_RANGES " UNION ALL " COMING_RANGES),
					   rollup, within, n);
}

/*
 * aj_stale_take
 *		Nothing is stale within a range any more; parts of stale ranges that
 *		stick out of it stay.
 */
void
aj_stale_take(int64 rollup_id, AjRange within)
{
	(void) aj_catalog_run(
		"WITH taken AS (DELETE FROM aggjobs.stale s"
		" WHERE s.rollup_id = $1 AND s.from_time < $3"
		" AND s.to_time > $2"
		" RETURNING s.from_time, s.to_time)"
		" INSERT INTO aggjobs.stale (rollup_id, from_time, to_time)"
		" SELECT $1, t.from_time, $2 FROM taken t"
		" WHERE t.from_time < $2"
		" UNION ALL SELECT $1, $3, t.to_time FROM taken t"
		" WHERE t.to_time > $3",
		AJ_ARGS(aj_arg_int8(rollup_id), aj_arg_time(within.from),
				aj_arg_time(within.to)));
}

/* A range of a rollup was written: rollups over it are stale there. */
void
aj_stale_add_parents(int64 rollup_id, AjRange range)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.stale (rollup_id, from_time, to_time)"
		" SELECT r.rollup_id, " BUCKET_START("$2") ", " BUCKET_END(
			"$3") " FROM aggjobs.rollup r WHERE r.source_rollup = $1",
		AJ_ARGS(aj_arg_int8(rollup_id), aj_arg_time(range.from),
				aj_arg_time(range.to)));
}
