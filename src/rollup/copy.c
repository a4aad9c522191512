/*-------------------------------------------------------------------------
 *
 * copy.c
 *	  What the table of a rollup said before.
 *
 * A copy is a plain table of the same owner beside that of the rollup.  What is
 * put back may differ from the query on the raw rows, so its buckets become
 * stale in the same transaction: the live view goes on to be right, and the next
 * refresh computes them again.
 *
 * Runs with the rights of the current user; for a superuser with those of the
 * target's owner (rollup/acting.h).  Locks: that of the rollup, to put back.  No state.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/copy.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "rollup/acting.h"
#include "rollup/compute.h"
#include "rollup/copy.h"
#include "utils/lsyscache.h"

/* A name of at most NAMEDATALEN - 1 bytes, that ends with the number. */
static char *
copy_name(const AjRollup *rollup, int64 backfill_id)
{
	char *suffix = psprintf("_before_" INT64_FORMAT, backfill_id);
	char *table = get_rel_name(rollup->target);
	int length = pg_mbcliplen(table, (int) strlen(table),
							  NAMEDATALEN - 1 - (int) strlen(suffix));

	return psprintf("%.*s%s", length, table, suffix);
}

static char *
bucket_of(const AjRollup *rollup, const char *prefix)
{
	return psprintf("%s.%s", prefix, quote_identifier(rollup->bucket_column));
}

/*
 * aj_copy_make
 *		A table with what that of the rollup says for a range now.
 *
 * Errors: 42P07 if there is such a table; 42501 if none can be made there.
 */
Oid
aj_copy_make(const AjRollup *rollup, AjRange range, int64 backfill_id)
{
	Oid schema = get_rel_namespace(rollup->target);
	char *name = copy_name(rollup, backfill_id);
	char *copy = quote_qualified_identifier(get_namespace_name(schema), name);
	AjActing acting;

	aj_acting_begin(rollup, &acting);
	aj_caller_command(
		psprintf("CREATE TABLE %s AS SELECT t.* FROM %s t WHERE %s", copy,
				 rollup->target_name,
				 aj_compute_range(rollup, bucket_of(rollup, "t"), range)));
	aj_caller_command(psprintf("COMMENT ON TABLE %s IS %s", copy,
							   quote_literal_cstr(psprintf(
								   "what %s said before backfill " INT64_FORMAT,
								   rollup->target_name, backfill_id))));
	aj_acting_end(&acting);
	return get_relname_relid(name, schema);
}

/* The buckets of rows that a statement with RETURNING b has changed. */
static AjRange *
change_rows(const AjRollup *rollup, const char *statement, int *n, int64 *rows)
{
	MemoryContext context = CurrentMemoryContext;
	AjRange *ranges;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	*n = (int) aj_spi_run_once(
		psprintf("WITH changed AS (%s) SELECT c.b, count(*) FROM changed c"
				 " GROUP BY 1",
				 statement),
		AJ_NO_ARGS);
	ranges = MemoryContextAlloc(context, sizeof(AjRange) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		bool isnull;
		TimestampTz bucket =
			aj_axis_from_datum(rollup->bucket_type, rollup->bucket.epoch,
							   aj_spi_datum((uint64) i, 1, &isnull));
		/* The day that a date names begins elsewhere in another zone. */
		int64 around =
			rollup->bucket_type == rollup->bucket.time_type ? 0 : USECS_PER_DAY;

		ranges[i].from = aj_rollup_bucket(rollup, bucket - around).from;
		ranges[i].to = aj_rollup_bucket(rollup, bucket + around).to;
		*rows += aj_spi_int8((uint64) i, 2, 0);
	}
	aj_spi_close(&spi);
	return ranges;
}

/* Change rows, and note their buckets as stale. */
static int64
change_and_note(const AjRollup *rollup, const char *statement)
{
	AjRange all = {DT_NOBEGIN, DT_NOEND};
	int64 rows = 0;
	int n;
	AjRange *ranges = change_rows(rollup, statement, &n, &rows);

	n = aj_ranges_tidy(ranges, n, all);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		aj_stale_add(rollup, ranges[i]);
	}
	CommandCounterIncrement();
	return rows;
}

/*
 * aj_copy_put_back
 *		Have the table of a rollup say in a range what a copy says; returns how
 *		many rows went and came.
 *
 * Rows are compared as text, which all types have.
 */
int64
aj_copy_put_back(AjRollup *rollup, Oid copy, AjRange range)
{
	const char *ours = aj_qualified_name(copy);
	const char *in_range =
		aj_compute_range(rollup, bucket_of(rollup, "t"), range);
	const char *same = psprintf("%s = %s AND t::text = c::text",
								bucket_of(rollup, "t"), bucket_of(rollup, "c"));
	AjActing acting;
	int64 rows;

	if (!aj_rollup_lock(rollup))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("rollup \"%s\" was changed meanwhile", rollup->name)));
	aj_acting_begin(rollup, &acting);
	rows = change_and_note(
		rollup,
		psprintf("DELETE FROM %s t WHERE %s AND NOT EXISTS"
				 " (SELECT FROM %s c WHERE %s) RETURNING %s AS b",
				 rollup->target_name, in_range, ours, same,
				 bucket_of(rollup, "t")));
	rows += change_and_note(
		rollup,
		psprintf("INSERT INTO %s SELECT c.* FROM %s c WHERE NOT EXISTS"
				 " (SELECT FROM %s t WHERE %s) RETURNING %s AS b",
				 rollup->target_name, ours, rollup->target_name, same,
				 quote_identifier(rollup->bucket_column)));
	aj_acting_end(&acting);
	return rows;
}

/* The copy is not needed any more. */
void
aj_copy_drop(Oid copy)
{
	if (get_rel_name(copy) != NULL)
		aj_caller_command(psprintf("DROP TABLE %s", aj_qualified_name(copy)));
}
