/*-------------------------------------------------------------------------
 *
 * rollup.c
 *	  aggjobs.rollup and rollup_state: what is derived, and how far it is.
 *
 * Every refresh of a rollup, and whoever makes it or moves its frozen line, holds
 * its lock until the end of the transaction; that of a child is taken before
 * that of a parent.
 *
 * State: the tables alone.  Runs with the rights of the extension's owner.
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
#include "base/limited.h"
#include "base/settings.h"
#include "base/spi.h"
#include "catalog/namespace.h"
#include "catalog/rollup.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

/* Batches of a refresh commit one by one: who needs longer does not commit. */
#ifdef AGGJOBS_TESTING
#define LOCK_LIMIT aj_test_rollup_wait
#else
#define LOCK_LIMIT (10 * 60 * 1000)
#endif

#define ROLLUP_COLUMNS                                             \
	"SELECT r.rollup_id, r.rollup_name, r.target::oid,"            \
	" format('%I.%I', tn.nspname, t.relname), r.live::oid,"        \
	" format('%I.%I', ln.nspname, l.relname), r.source::oid,"      \
	" format('%I.%I', sn.nspname, s.relname), r.source_rollup,"    \
	" r.time_column::text, r.time_type::oid, r.epoch,"             \
	" r.bucket_column::text, r.bucket_type::oid, r.bucket_kind,"   \
	" r.bucket_unit, r.bucket_width, r.bucket_count, r.time_zone," \
	" r.origin, r.count_origin, r.keys, r.measures, r.query,"      \
	" coalesce(r.lookback, 0), r.builtin, st.horizon,"             \
	" st.frozen_before, r.replaces"                                \
	" FROM aggjobs.rollup r"                                       \
	" LEFT JOIN aggjobs.rollup_state st USING (rollup_name)"       \
	" JOIN pg_class t ON t.oid = r.target"                         \
	" JOIN pg_namespace tn ON tn.oid = t.relnamespace"             \
	" JOIN pg_class l ON l.oid = r.live"                           \
	" JOIN pg_namespace ln ON ln.oid = l.relnamespace"             \
	" JOIN pg_class s ON s.oid = r.source"                         \
	" JOIN pg_namespace sn ON sn.oid = s.relnamespace"

static const char *const bucket_kinds[] = {
	[AJ_BUCKET_TRUNC] = "trunc",
	[AJ_BUCKET_BIN] = "bin",
	[AJ_BUCKET_WIDTH] = "width",
	[AJ_BUCKET_COUNT] = "count",
};

static AjBucketKind
kind_from_text(const char *text)
{
	for (int i = 0; i < (int) lengthof(bucket_kinds); i++)
		if (strcmp(bucket_kinds[i], text) == 0)
			return (AjBucketKind) i;
	elog(ERROR, "unknown kind of bucket \"%s\"", text);
	return AJ_BUCKET_TRUNC;
}

static void
read_bucket(AjBucket *bucket, uint64 row, MemoryContext context)
{
	bool isnull;
	Datum width;
	char *epoch = aj_spi_text(row, 12, context);

	bucket->time_type = aj_spi_oid(row, 11);
	bucket->epoch = epoch == NULL ? AJ_EPOCH_NONE : aj_epoch_from_text(epoch);
	bucket->kind = kind_from_text(aj_spi_text(row, 15, context));
	bucket->unit = aj_spi_text(row, 16, context);
	width = aj_spi_datum(row, 17, &isnull);
	if (!isnull)
		bucket->width = *DatumGetIntervalP(width);
	bucket->count = aj_spi_int8(row, 18, 0);
	bucket->zone = aj_spi_text(row, 19, context);
	bucket->origin = aj_spi_time(row, 20, AJ_BUCKET_NO_ORIGIN);
	bucket->count_origin = aj_spi_int8(row, 21, 0);
}

static void
read_keys(AjRollup *rollup, uint64 row, MemoryContext context)
{
	bool isnull;
	Datum array = aj_spi_datum(row, 22, &isnull);
	Datum *names;
	int n;

	deconstruct_array(DatumGetArrayTypeP(array), NAMEOID, NAMEDATALEN, false,
					  TYPALIGN_CHAR, &names, NULL, &n);
	rollup->nkeys = n;
	rollup->keys =
		MemoryContextAlloc(context, sizeof(char *) * (Size) Max(n, 1));
	for (int i = 0; i < n; i++)
		rollup->keys[i] =
			MemoryContextStrdup(context, NameStr(*DatumGetName(names[i])));
}

static AjRollup *
read_rollup(uint64 row, MemoryContext context)
{
	AjRollup *rollup = MemoryContextAllocZero(context, sizeof(AjRollup));

	rollup->rollup_id = aj_spi_int8(row, 1, 0);
	rollup->name = aj_spi_text(row, 2, context);
	rollup->target = aj_spi_oid(row, 3);
	rollup->target_name = aj_spi_text(row, 4, context);
	rollup->live = aj_spi_oid(row, 5);
	rollup->live_name = aj_spi_text(row, 6, context);
	rollup->source = aj_spi_oid(row, 7);
	rollup->source_name = aj_spi_text(row, 8, context);
	rollup->source_rollup = aj_spi_text(row, 9, context);
	rollup->time_column = aj_spi_text(row, 10, context);
	rollup->bucket_column = aj_spi_text(row, 13, context);
	rollup->bucket_type = aj_spi_oid(row, 14);
	read_bucket(&rollup->bucket, row, context);
	read_keys(rollup, row, context);
	rollup->measures = aj_spi_jsonb(row, 23, context);
	rollup->query = aj_spi_text(row, 24, context);
	rollup->lookback = (int) aj_spi_int8(row, 25, 0);
	rollup->builtin = aj_spi_bool(row, 26);
	rollup->horizon = aj_spi_time(row, 27, AJ_NO_TIME);
	rollup->frozen_before = aj_spi_time(row, 28, AJ_NO_TIME);
	rollup->replaces = aj_spi_text(row, 29, context);
	return rollup;
}

typedef uint64 (*RunSql)(const char *sql, int nargs, const AjArg *args);

/* What a reading statement over ROLLUP_COLUMNS returns. */
static AjRollup **
read_rollups(RunSql run, const char *sql, AjArg arg, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjRollup **rollups;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) run(sql, AJ_ARGS(arg));
	rollups =
		MemoryContextAlloc(context, sizeof(AjRollup *) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
		rollups[i] = read_rollup((uint64) i, context);
	aj_spi_close(&spi);
	return rollups;
}

/*
 * aj_rollup_find
 *		The rollup of this name; if there is none, NULL or error 42704.
 *
 * A rollup whose source, target or live view was dropped counts as missing.
 */
AjRollup *
aj_rollup_find(const char *name, bool missing_ok)
{
	int n;
	AjRollup **found =
		read_rollups(aj_spi_run, ROLLUP_COLUMNS " WHERE r.rollup_name = $1",
					 aj_arg_text(name), &n);

	if (n > 0)
		return found[0];
	if (!missing_ok)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("rollup \"%s\" does not exist, or its table was dropped",
					aj_clip(name)),
			 errhint(
				 "List the rollups with SELECT rollup_name FROM aggjobs.rollups.")));
	return NULL;
}

/* The same in the active snapshot; NULL if there is none. */
AjRollup *
aj_rollup_find_in_snapshot(const char *name)
{
	int n;
	AjRollup **found =
		read_rollups(aj_spi_read, ROLLUP_COLUMNS " WHERE r.rollup_name = $1",
					 aj_arg_text(name), &n);

	return n > 0 ? found[0] : NULL;
}

/* The rollups over a source, in the order in which they are to be locked. */
AjRollup **
aj_rollups_of(Oid source, int *n)
{
	return read_rollups(aj_spi_run,
						ROLLUP_COLUMNS
						" WHERE r.source = $1 ORDER BY r.rollup_id",
						aj_arg_oid(source), n);
}

/* The rollups that read a rollup. */
AjRollup **
aj_rollup_parents(const char *name, int *n)
{
	return read_rollups(aj_spi_run,
						ROLLUP_COLUMNS
						" WHERE r.source_rollup = $1 ORDER BY r.rollup_id",
						aj_arg_text(name), n);
}

/* The rollup that fills a table, or NULL. */
AjRollup *
aj_rollup_of_target(Oid target)
{
	int n;
	AjRollup **found =
		read_rollups(aj_spi_run, ROLLUP_COLUMNS " WHERE r.target = $1",
					 aj_arg_oid(target), &n);

	return n > 0 ? found[0] : NULL;
}

/*
 * aj_rollup_of_target_in_snapshot
 *		The same as the active snapshot sees it.  A rollup that is younger has
 *		nothing in its table there.
 */
AjRollup *
aj_rollup_of_target_in_snapshot(Oid target)
{
	int n;
	AjRollup **found =
		read_rollups(aj_spi_read, ROLLUP_COLUMNS " WHERE r.target = $1",
					 aj_arg_oid(target), &n);
	AjRollup *rollup;

	if (n > 0)
		return found[0];
	found =
		read_rollups(aj_spi_read_latest, ROLLUP_COLUMNS " WHERE r.target = $1",
					 aj_arg_oid(target), &n);
	if (n == 0)
		return NULL;
	rollup = found[0];
	rollup->horizon = AJ_NO_TIME;
	rollup->frozen_before = AJ_NO_TIME;
	return rollup;
}

/* The rollup whose live view this is, or NULL. */
AjRollup *
aj_rollup_of_live(Oid live)
{
	int n;
	AjRollup **found =
		read_rollups(aj_spi_run, ROLLUP_COLUMNS " WHERE r.live = $1",
					 aj_arg_oid(live), &n);

	return n > 0 ? found[0] : NULL;
}

static Datum
keys_datum(const AjRollup *rollup)
{
	Datum *names = palloc(sizeof(Datum) * (Size) Max(rollup->nkeys, 1));

	for (int i = 0; i < rollup->nkeys; i++)
		names[i] =
			DirectFunctionCall1(namein, CStringGetDatum(rollup->keys[i]));
	return PointerGetDatum(construct_array(names, rollup->nkeys, NAMEOID,
										   NAMEDATALEN, false, TYPALIGN_CHAR));
}

/* Does the rollup's kind of bucket have a width in time? */
static bool
has_width(const AjBucket *bucket)
{
	return bucket->kind == AJ_BUCKET_BIN || bucket->kind == AJ_BUCKET_WIDTH;
}

/* The arguments that describe a bucket, seven of them. */
static void
bucket_args(const AjBucket *bucket, AjArg *args)
{
	bool counts = bucket->kind == AJ_BUCKET_COUNT;

	args[0] = aj_arg_text(bucket_kinds[bucket->kind]);
	args[1] =
		aj_arg_text(bucket->kind == AJ_BUCKET_TRUNC ? bucket->unit : NULL);
	args[2] = aj_arg(INTERVALOID, IntervalPGetDatum(&bucket->width),
					 !has_width(bucket));
	args[3] = aj_arg(INT8OID, Int64GetDatum(bucket->count), !counts);
	args[4] = aj_arg_text(bucket->zone);
	args[5] =
		aj_arg(TIMESTAMPTZOID, TimestampTzGetDatum(bucket->origin),
			   !has_width(bucket) || bucket->origin == AJ_BUCKET_NO_ORIGIN);
	args[6] = aj_arg(INT8OID, Int64GetDatum(bucket->count_origin), !counts);
}

#define DEFINITION_ARGS 20

static void
definition_args(const AjRollup *rollup, AjArg *args)
{
	args[0] = aj_arg_text(rollup->name);
	args[1] = aj_arg_oid(rollup->target);
	args[2] = aj_arg_oid(rollup->live);
	args[3] = aj_arg_oid(rollup->source);
	args[4] = aj_arg_text(rollup->source_rollup);
	args[5] = aj_arg_text(rollup->time_column);
	args[6] = aj_arg_oid(rollup->bucket.time_type);
	args[7] = aj_arg_text(rollup->bucket.epoch == AJ_EPOCH_NONE
							  ? NULL
							  : aj_epoch_text(rollup->bucket.epoch));
	args[8] = aj_arg_text(rollup->bucket_column);
	args[9] = aj_arg_oid(rollup->bucket_type);
	bucket_args(&rollup->bucket, &args[10]);
	args[17] = aj_arg(NAMEARRAYOID, keys_datum(rollup), false);
	args[18] = aj_arg_jsonb(rollup->measures);
	args[19] = aj_arg_text(rollup->query);
}

/*
 * The lock of a rollup is that of a database object, since among many who share
 * it one who wants it alone would never get a lock of the row: where they stand
 * in line, he has his turn.
 */
static void
lock_object(int64 rollup_id, LOCKMODE mode)
{
	Oid table =
		get_relname_relid("rollup", get_namespace_oid("aggjobs", false));

	LockDatabaseObject(table, (Oid) rollup_id, 0, mode);
}

/*
 * aj_rollup_insert
 *		Store a new rollup, and set its id.
 *
 * What can still fail is that another of its name was made meanwhile: 42710.
 */
void
aj_rollup_insert(AjRollup *rollup)
{
	AjArg args[DEFINITION_ARGS + 3];
	AjSpi spi;

	definition_args(rollup, args);
	args[DEFINITION_ARGS] =
		aj_arg_int4_or_null(rollup->lookback, rollup->lookback == 0);
	args[DEFINITION_ARGS + 1] = aj_arg_bool(rollup->builtin);
	args[DEFINITION_ARGS + 2] = aj_arg_text(rollup->replaces);
	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run(
			"INSERT INTO aggjobs.rollup AS r (rollup_name, target, live,"
			" source, source_rollup, time_column, time_type, epoch,"
			" bucket_column, bucket_type, bucket_kind, bucket_unit,"
			" bucket_width, bucket_count, time_zone, origin,"
			" count_origin, keys, measures, query, lookback, builtin,"
			" replaces)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
			" $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)"
			" ON CONFLICT (rollup_name) DO NOTHING RETURNING r.rollup_id",
			DEFINITION_ARGS + 3, args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("rollup \"%s\" already exists", aj_clip(rollup->name)),
				 errhint("Give it another name, or drop that one with "
						 "aggjobs_drop_rollup().")));
	rollup->rollup_id = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	/*
	 * A commit shows the row before it tells other processes that the names of
	 * table and view are taken; who locks the rollup waits for that, too.
	 */
	lock_object(rollup->rollup_id, ExclusiveLock);
}

/* Forget a rollup with all that is noted about it. */
void
aj_rollup_delete(const char *name)
{
	(void) aj_catalog_run("DELETE FROM aggjobs.rollup r"
						  " WHERE r.rollup_name = $1",
						  AJ_ARGS(aj_arg_text(name)));
}

/*
 * aj_rollup_delete_orphans
 *		Forget the rollups whose table or live view was dropped; returns their
 *		names.  A table that is left is a plain table from then on.
 */
char **
aj_rollup_delete_orphans(int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char **names;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run(
		"DELETE FROM aggjobs.rollup r WHERE NOT EXISTS"
		" (SELECT FROM pg_class c WHERE c.oid = r.target) OR NOT EXISTS"
		" (SELECT FROM pg_class c WHERE c.oid = r.live)"
		" RETURNING r.rollup_name",
		AJ_NO_ARGS);
	names = MemoryContextAlloc(context, sizeof(char *) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
		names[i] = aj_spi_text((uint64) i, 1, context);
	aj_spi_close(&spi);
	return names;
}

/* As it is now, in the memory context that it is in. */
static bool
read_again(AjRollup *rollup)
{
	MemoryContext saved;
	AjRollup **found;
	int n;

	/* It may have to live longer than this transaction. */
	saved = MemoryContextSwitchTo(GetMemoryChunkContext(rollup));
	found = read_rollups(aj_spi_run, ROLLUP_COLUMNS " WHERE r.rollup_id = $1",
						 aj_arg_int8(rollup->rollup_id), &n);
	MemoryContextSwitchTo(saved);
	if (n == 0)
		return false;
	*rollup = *found[0];
	return true;
}

static void
tell_what_is_waited_for(void *rollup)
{
	errcontext(
		"waiting for rollup \"%s\", which another refresh, a backfill or retention works on",
		((AjRollup *) rollup)->name);
}

/* Lock object and row; false if the row is gone. */
static bool
lock_or_say(AjRollup *rollup, LOCKMODE mode, const char *row_lock)
{
	ErrorContextCallback context;
	int level = aj_limit_lock_waits(LOCK_LIMIT);
	bool found;

	context.callback = tell_what_is_waited_for;
	context.arg = rollup;
	context.previous = error_context_stack;
	error_context_stack = &context;
	lock_object(rollup->rollup_id, mode);
	found =
		aj_catalog_run(row_lock, AJ_ARGS(aj_arg_int8(rollup->rollup_id))) > 0;
	error_context_stack = context.previous;
	AtEOXact_GUC(true, level);
	return found && read_again(rollup);
}

/*
 * aj_rollup_lock
 *		Keep other refreshes of a rollup, and retention of its source, waiting
 *		until the transaction ends; *rollup is then as it is now: how far it
 *		is, and what it is called, reads and is read by.  False if it was
 *		dropped, or replaced by another, meanwhile.
 *
 * Errors: 55P03 if another does not commit for ten minutes, or for as long as
 * lock_timeout of the session says.
 */
bool
aj_rollup_lock(AjRollup *rollup)
{
	return lock_or_say(rollup, ExclusiveLock,
					   "SELECT FROM aggjobs.rollup r"
					   " WHERE r.rollup_id = $1 FOR NO KEY UPDATE");
}

/*
 * aj_rollup_lock_shared
 *		The same, but let others in that share the lock: those who compute
 *		ranges of their own.
 */
bool
aj_rollup_lock_shared(AjRollup *rollup)
{
	return lock_or_say(rollup, ShareLock,
					   "SELECT FROM aggjobs.rollup r"
					   " WHERE r.rollup_id = $1 FOR KEY SHARE");
}

/* Keep refreshes of all rollups of a source waiting. */
void
aj_rollup_lock_all_of(Oid source)
{
	int n;
	AjRollup **rollups = aj_rollups_of(source, &n);

	for (int i = 0; i < n; i++)
		(void) aj_rollup_lock(rollups[i]);
}

/* The bucket of a rollup that holds an instant. */
AjRange
aj_rollup_bucket(const AjRollup *rollup, TimestampTz at)
{
	AjRange range;

	range.from = aj_bucket_start(&rollup->bucket, at);
	range.to = aj_bucket_end(&rollup->bucket, at);
	return range;
}

/* The smallest range of whole buckets that holds a range. */
AjRange
aj_rollup_widen(const AjRollup *rollup, AjRange range)
{
	AjRange wide;

	wide.from = aj_bucket_start(&rollup->bucket, range.from);
	wide.to = aj_bucket_start(&rollup->bucket, range.to);
	if (wide.to < range.to)
		wide.to = aj_bucket_end(&rollup->bucket, range.to);
	return wide;
}

/* Of a rollup that somebody is just dropping nothing is stored. */
#define UPSERT_STATE(column)                                           \
	"INSERT INTO aggjobs.rollup_state AS st (rollup_name, " column ")" \
	" SELECT r.rollup_name, $2 FROM aggjobs.rollup r"                  \
	" WHERE r.rollup_name = $1 FOR KEY SHARE"                          \
	" ON CONFLICT (rollup_name) DO UPDATE SET " column " = excluded." column

/*
 * Everything that ends at or before "horizon" is computed or stale.  In two
 * statements: a row inserted with a horizon is taken for one of a dump.
 */
void
aj_rollup_set_horizon(const AjRollup *rollup, TimestampTz horizon)
{
	(void) aj_catalog_run("INSERT INTO aggjobs.rollup_state (rollup_name)"
						  " VALUES ($1) ON CONFLICT (rollup_name) DO NOTHING",
						  AJ_ARGS(aj_arg_text(rollup->name)));
	(void) aj_catalog_run("UPDATE aggjobs.rollup_state st SET horizon = $2"
						  " WHERE st.rollup_name = $1",
						  AJ_ARGS(aj_arg_text(rollup->name),
								  aj_arg_time(horizon)));
}

/* Buckets before this instant keep what they have, for good. */
void
aj_rollup_set_frozen(const AjRollup *rollup, TimestampTz before)
{
	(void) aj_catalog_run(
		UPSERT_STATE(
			"frozen_before") " WHERE st.frozen_before IS NULL"
							 " OR st.frozen_before < excluded.frozen_before",
		AJ_ARGS(aj_arg_text(rollup->name), aj_arg_time(before)));
}

/* So many rows were written below the frozen line. */
void
aj_rollup_add_late(const AjRollup *rollup, int64 rows)
{
	(void) aj_catalog_run(
		"UPDATE aggjobs.rollup_state st SET late_rows = st.late_rows + $2"
		" WHERE st.rollup_name = $1",
		AJ_ARGS(aj_arg_text(rollup->name), aj_arg_int8(rows)));
}

/* What is amiss with the capture of its source; NULL: nothing any more. */
void
aj_rollup_set_problem(const char *name, const char *problem)
{
	(void) aj_catalog_run(
		UPSERT_STATE(
			"problem") " WHERE st.problem IS DISTINCT FROM excluded.problem",
		AJ_ARGS(aj_arg_text(name), aj_arg_text(problem)));
}

/* The greatest horizon of the rollups over a source, as it is now. */
TimestampTz
aj_rollup_greatest_horizon(Oid source)
{
	AjSpi spi;
	TimestampTz horizon;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	(void) aj_spi_run("SELECT coalesce(max(st.horizon), '-infinity')"
					  " FROM aggjobs.rollup r JOIN aggjobs.rollup_state st"
					  " USING (rollup_name) WHERE r.source = $1",
					  AJ_ARGS(aj_arg_oid(source)));
	horizon = aj_spi_time(0, 1, DT_NOBEGIN);
	aj_spi_close(&spi);
	return horizon;
}

/* Is anything said to be amiss with a rollup? */
bool
aj_rollup_has_problem(const char *name)
{
	return aj_catalog_run("SELECT FROM aggjobs.rollup_state st"
						  " WHERE st.rollup_name = $1"
						  " AND st.problem IS NOT NULL",
						  AJ_ARGS(aj_arg_text(name))) > 0;
}

/* The time column from which rollups of this table are computed, or NULL. */
char *
aj_rollup_time_column(Oid source)
{
	int n;
	AjRollup **rollups = aj_rollups_of(source, &n);

	return n == 0 ? NULL : rollups[0]->time_column;
}

/* Has any rollup of a source a horizon that is not of this transaction? */
bool
aj_rollup_source_is_used(Oid source)
{
	return aj_catalog_run(
			   "SELECT FROM aggjobs.rollup r JOIN aggjobs.rollup_state st"
			   " USING (rollup_name) WHERE r.source = $1"
			   " AND st.horizon IS NOT NULL"
			   " AND st.xmin <> pg_current_xact_id()::xid LIMIT 1",
			   AJ_ARGS(aj_arg_oid(source))) > 0;
}

/*
 * aj_rollup_rename_column
 *		A column of a rollup's table has another name now.  False if it is not
 *		known by the old one.
 */
bool
aj_rollup_rename_column(const AjRollup *rollup, const char *from,
						const char *to)
{
	return aj_catalog_run(
			   "UPDATE aggjobs.rollup r SET"
			   " bucket_column = CASE r.bucket_column WHEN $2::name"
			   " THEN $3::name ELSE r.bucket_column END,"
			   " keys = array_replace(r.keys, $2::name, $3::name),"
			   " measures = (SELECT coalesce(jsonb_agg(CASE"
			   " WHEN m.one ->> 'name' = $2"
			   " THEN jsonb_set(m.one, '{name}', to_jsonb($3)) ELSE m.one END"
			   " ORDER BY m.place), '[]')"
			   " FROM jsonb_array_elements(r.measures)"
			   " WITH ORDINALITY m (one, place))"
			   " WHERE r.rollup_id = $1 AND (r.bucket_column = $2::name"
			   " OR $2::name = ANY (r.keys) OR EXISTS"
			   " (SELECT FROM jsonb_array_elements(r.measures) m (one)"
			   " WHERE m.one ->> 'name' = $2))",
			   AJ_ARGS(aj_arg_int8(rollup->rollup_id), aj_arg_text(from),
					   aj_arg_text(to))) > 0;
}

/* The column of a source by which rollups go has another name now. */
void
aj_rollup_rename_time_column(Oid source, const char *from, const char *to)
{
	(void) aj_catalog_run("UPDATE aggjobs.rollup r SET time_column = $3::name"
						  " WHERE r.source = $1 AND r.time_column = $2::name",
						  AJ_ARGS(aj_arg_oid(source), aj_arg_text(from),
								  aj_arg_text(to)));
}
