/*-------------------------------------------------------------------------
 *
 * change.c
 *	  aggjobs.change and aggjobs.stale: ranges of time that were written.
 *
 * Writers append to aggjobs.change, as the last thing that their transaction
 * does and without SQL: there may be no snapshot, no right to write the table
 * and no patience.  Refreshes turn change rows into stale rows, one or more
 * for each rollup of the source, and take stale rows away with the very
 * transaction that computes their ranges.
 *
 * A row with places (tids) says that in its range nothing was done but insert
 * the rows found there: by transaction tid_xid, in the file that tid_epoch
 * stands for.  Where any of it does not hold any more, the range counts as a
 * whole.
 *
 * State: the tables alone.  aj_change_absorb() holds the lock on the row of
 * the source in aggjobs.source until the end of the transaction.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/change.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/limited.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/source.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* Milliseconds to wait for what another refresh holds until it commits. */
#define LOCK_LIMIT 10000

/* Columns of aggjobs.change, in order. */
typedef enum ChangeColumn
{
	CHANGE_SOURCE,
	CHANGE_FROM,
	CHANGE_TO,
	CHANGE_ROWS,
	CHANGE_PART,
	CHANGE_EPOCH,
	CHANGE_XID,
	CHANGE_TIDS,
	CHANGE_COLUMNS
} ChangeColumn;

static Oid
our_table(const char *name)
{
	Oid schema = get_namespace_oid("aggjobs", true);

	return schema == InvalidOid ? InvalidOid : get_relname_relid(name, schema);
}

/* Are our tables (still) there? */
bool
aj_change_can_append(void)
{
	return our_table("change") != InvalidOid &&
		our_table("source") != InvalidOid;
}

/* The file that holds a table's rows now; InvalidOid if it is gone. */
Oid
aj_file_of(Oid table)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid file;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	ReleaseSysCache(tuple);
	return file;
}

/*
 * aj_places_epoch
 *		A number that stands for a file of a table in this database of this
 *		server: places noted under another one are void.
 */
int64
aj_places_epoch(Oid table, Oid file)
{
	uint64 epoch = hash_combine64(GetSystemIdentifier(), MyDatabaseId);

	epoch = hash_combine64(epoch, table);
	return (int64) hash_combine64(epoch, file);
}

static Datum
tids_datum(const AjChange *change)
{
	Datum *tids = palloc(sizeof(Datum) * (Size) change->ntids);

	for (int i = 0; i < change->ntids; i++)
		tids[i] = PointerGetDatum(&change->tids[i]);
	return PointerGetDatum(construct_array(tids, change->ntids, TIDOID,
										   sizeof(ItemPointerData), false,
										   TYPALIGN_SHORT));
}

static void
fill_row(const AjChange *change, Datum *values, bool *isnull)
{
	bool has_places =
		change->ntids > 0 && change->file == aj_file_of(change->part);

	values[CHANGE_SOURCE] = ObjectIdGetDatum(change->source);
	values[CHANGE_FROM] = TimestampTzGetDatum(change->range.from);
	values[CHANGE_TO] = TimestampTzGetDatum(
		change->range.to > END_TIMESTAMP ? DT_NOEND : change->range.to);
	values[CHANGE_ROWS] = Int64GetDatum(change->rows);
	for (int i = CHANGE_PART; i <= CHANGE_TIDS; i++)
		isnull[i] = !has_places;
	if (!has_places)
		return;
	values[CHANGE_PART] = ObjectIdGetDatum(change->part);
	values[CHANGE_EPOCH] =
		Int64GetDatum(aj_places_epoch(change->part, change->file));
	values[CHANGE_XID] = TransactionIdGetDatum(GetTopTransactionId());
	values[CHANGE_TIDS] = tids_datum(change);
}

/*
 * aj_change_append
 *		Note that this transaction has written a range of a source.
 *
 * Needs no snapshot, as the table has no TOAST table, and asks for no rights; to
 * be called only where aj_change_can_append().
 */
void
aj_change_append(const AjChange *change)
{
	Relation rel = table_open(our_table("change"), RowExclusiveLock);
	Datum values[CHANGE_COLUMNS] = {0};
	bool isnull[CHANGE_COLUMNS] = {0};
	HeapTuple tuple;

	if (RelationGetDescr(rel)->natts != CHANGE_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table aggjobs.%s is not of this version of pg_aggjobs",
						RelationGetRelationName(rel)),
				 errhint("Run ALTER EXTENSION pg_aggjobs UPDATE.")));
	fill_row(change, values, isnull);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, isnull);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

/*
 * Anything may have been done to a source, at any time.  A row that says so
 * already will do, if nobody is about to take it away: lock it against that.
 */
void
aj_change_note_everything(Oid source)
{
	AjChange everything = {.source = source, .range = {DT_NOBEGIN, DT_NOEND}};

	if (!IsolationUsesXactSnapshot() &&
		aj_catalog_run("SELECT FROM aggjobs.change c WHERE c.source = $1"
					   " AND c.from_time = '-infinity'"
					   " AND c.to_time = 'infinity'"
					   " LIMIT 1 FOR KEY SHARE SKIP LOCKED",
					   AJ_ARGS(aj_arg_oid(source))) > 0)
		return;
	aj_change_append(&everything);
	CommandCounterIncrement();
}

/* What a statement of ours returned about places, columns "first" on. */
static void
read_places(AjPlaces *places, uint64 row, int first, MemoryContext context)
{
	MemoryContext saved = MemoryContextSwitchTo(context);
	bool isnull;
	Datum tids = aj_spi_datum(row, first + 3, &isnull);

	memset(places, 0, sizeof(AjPlaces));
	if (!isnull)
	{
		ArrayType *array = DatumGetArrayTypePCopy(tids);

		places->part = aj_spi_oid(row, first);
		places->epoch = aj_spi_int8(row, first + 1, 0);
		places->xid =
			DatumGetTransactionId(aj_spi_datum(row, first + 2, &isnull));
		places->tids = PointerGetDatum(array);
		places->ntids = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	}
	MemoryContextSwitchTo(saved);
}

static AjStale *
read_stale_rows(int n, MemoryContext context)
{
	AjStale *rows =
		MemoryContextAlloc(context, sizeof(AjStale) * (Size) Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		rows[i].range.from = aj_spi_time((uint64) i, 1, AJ_NO_TIME);
		rows[i].range.to = aj_spi_time((uint64) i, 2, AJ_NO_TIME);
		read_places(&rows[i].places, (uint64) i, 3, context);
	}
	return rows;
}

static void
store_stale(const AjRollup *rollup, const AjStale *stale)
{
	const AjPlaces *places = &stale->places;
	bool whole = places->ntids == 0;

	/* Somebody may have dropped it meanwhile. */
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.stale (rollup_id, from_time, to_time,"
		" part, tid_epoch, tid_xid, tids)"
		" SELECT r.rollup_id, $2, $3, $4, $5, $6, $7"
		" FROM aggjobs.rollup r WHERE r.rollup_id = $1 FOR KEY SHARE",
		AJ_ARGS(aj_arg_int8(rollup->rollup_id), aj_arg_time(stale->range.from),
				aj_arg_time(stale->range.to),
				aj_arg(OIDOID, ObjectIdGetDatum(places->part), whole),
				aj_arg(INT8OID, Int64GetDatum(places->epoch), whole),
				aj_arg(XIDOID, TransactionIdGetDatum(places->xid), whole),
				aj_arg(TIDARRAYOID, places->tids, whole)));
}

/* A range of a rollup is to be computed again. */
void
aj_stale_add(const AjRollup *rollup, AjRange range)
{
	AjStale stale = {.range = range};

	if (range.from < range.to)
		store_stale(rollup, &stale);
}

static int
compare_stale(const void *a, const void *b)
{
	const AjStale *x = a;
	const AjStale *y = b;

	if (x->range.from != y->range.from)
		return x->range.from < y->range.from ? -1 : 1;
	/* Whole ranges first, the longest first. */
	if ((x->places.ntids == 0) != (y->places.ntids == 0))
		return x->places.ntids == 0 ? -1 : 1;
	return (x->range.to < y->range.to) - (x->range.to > y->range.to);
}

/*
 * Store ranges for a rollup: whole ones merged where they meet, and none with
 * places that lies in a whole one.
 */
static void
store_merged(const AjRollup *rollup, AjStale *ranges, int n)
{
	AjStale whole = {.range = {DT_NOBEGIN, DT_NOBEGIN}};

	qsort(ranges, (size_t) n, sizeof(AjStale), compare_stale);
	for (int i = 0; i < n; i++)
	{
		const AjStale *next = &ranges[i];
		bool within = whole.range.from < whole.range.to &&
			next->range.from <= whole.range.to;

		if (next->places.ntids > 0)
		{
			if (!within || next->range.to > whole.range.to)
				store_stale(rollup, next);
		}
		else if (within)
			whole.range.to = Max(whole.range.to, next->range.to);
		else
		{
			if (whole.range.from < whole.range.to)
				store_stale(rollup, &whole);
			whole.range = next->range;
		}
	}
	if (whole.range.from < whole.range.to)
		store_stale(rollup, &whole);
}

/* Change rows as stale rows of a rollup; what is frozen is only counted. */
static void
absorb_for(const AjRollup *rollup, const AjStale *changes,
		   const int64 *row_counts, int n)
{
	AjStale *ranges = palloc(sizeof(AjStale) * (Size) Max(n, 1));
	TimestampTz frozen = rollup->frozen_before == AJ_NO_TIME
		? DT_NOBEGIN
		: rollup->frozen_before;
	int64 late = 0;
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		ranges[kept] = changes[i];
		ranges[kept].range = aj_rollup_widen(rollup, changes[i].range);
		if (changes[i].range.from < frozen)
			late += row_counts[i];
		ranges[kept].range.from = Max(ranges[kept].range.from, frozen);
		if (ranges[kept].range.from < ranges[kept].range.to)
			kept++;
	}
	store_merged(rollup, ranges, kept);
	if (late > 0)
		aj_rollup_add_late(rollup, late);
	pfree(ranges);
}

static AjStale *
take_changes(Oid source, int64 **row_counts, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjStale *changes;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run(
		"DELETE FROM aggjobs.change c WHERE c.source = $1"
		" RETURNING c.from_time, c.to_time, c.part, c.tid_epoch, c.tid_xid,"
		" c.tids, c.row_count",
		AJ_ARGS(aj_arg_oid(source)));
	changes = read_stale_rows(*n, context);
	*row_counts =
		MemoryContextAlloc(context, sizeof(int64) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
		(*row_counts)[i] = aj_spi_int8((uint64) i, 7, 0);
	aj_spi_close(&spi);
	return changes;
}

static bool
absorb(Oid source)
{
	int n;
	int nrollups;
	AjRollup **rollups;
	AjStale *changes;
	int64 *row_counts;
	bool everything = false;

	aj_source_lock(source);
	changes = take_changes(source, &row_counts, &n);
	rollups = aj_rollups_of(source, &nrollups);
	for (int i = 0; i < nrollups; i++)
		absorb_for(rollups[i], changes, row_counts, n);
	for (int i = 0; i < n; i++)
		everything |= TIMESTAMP_IS_NOBEGIN(changes[i].range.from) &&
			TIMESTAMP_IS_NOEND(changes[i].range.to);
	return everything;
}

static void
tell_what_is_waited_for(void *table)
{
	if (table == NULL)
		return;
	errcontext(
		"taking in the changes of table %s, which waits for another refresh of a rollup over it",
		(char *) table);
}

/*
 * aj_change_absorb
 *		Turn the change rows of a source into stale rows of its rollups; true
 *		if one was for all time, which may stand for a capture that is broken:
 *		see aj_capture_absorb().
 *
 * Nothing is written, and nothing locked, where there are none.  Errors: 55P03
 * if another refresh that absorbs does not commit for too long.
 */
bool
aj_change_absorb(Oid source)
{
	ErrorContextCallback context;
	int level;
	bool everything;

	if (aj_catalog_run("SELECT FROM aggjobs.change c WHERE c.source = $1"
					   " LIMIT 1",
					   AJ_ARGS(aj_arg_oid(source))) == 0)
		return false;
	level = aj_limit_lock_waits(LOCK_LIMIT);
	context.callback = tell_what_is_waited_for;
	context.arg = get_rel_name(source);
	context.previous = error_context_stack;
	error_context_stack = &context;
	everything = absorb(source);
	error_context_stack = context.previous;
	AtEOXact_GUC(true, level);
	return everything;
}

/* The first two columns of what a statement returned. */
static AjRange *
read_ranges(int n, MemoryContext context)
{
	AjRange *ranges =
		MemoryContextAlloc(context, sizeof(AjRange) * (Size) Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		ranges[i].from = aj_spi_time((uint64) i, 1, AJ_NO_TIME);
		ranges[i].to = aj_spi_time((uint64) i, 2, AJ_NO_TIME);
	}
	return ranges;
}

static int
compare_ranges(const void *a, const void *b)
{
	TimestampTz x = ((const AjRange *) a)->from;
	TimestampTz y = ((const AjRange *) b)->from;

	return (x > y) - (x < y);
}

/*
 * aj_ranges_tidy
 *		Sort ranges, cut them to "within" and merge them where they meet;
 *		returns how many are left.
 */
int
aj_ranges_tidy(AjRange *ranges, int n, AjRange within)
{
	int kept = 0;

	if (n > 1)
		qsort(ranges, (size_t) n, sizeof(AjRange), compare_ranges);
	for (int i = 0; i < n; i++)
	{
		AjRange range = {Max(ranges[i].from, within.from),
						 Min(ranges[i].to, within.to)};

		if (range.from >= range.to)
			continue;
		if (kept > 0 && range.from <= ranges[kept - 1].to)
			ranges[kept - 1].to = Max(ranges[kept - 1].to, range.to);
		else
			ranges[kept++] = range;
	}
	return kept;
}

/*
 * aj_stale_ranges
 *		The stale ranges of a rollup within a range, cut to it and merged,
 *		the oldest first.
 */
AjRange *
aj_stale_ranges(const AjRollup *rollup, AjRange within, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjRange *ranges;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run("SELECT s.from_time, s.to_time FROM aggjobs.stale s"
						  " WHERE s.rollup_id = $1 AND s.from_time < $3"
						  " AND s.to_time > $2",
						  AJ_ARGS(aj_arg_int8(rollup->rollup_id),
								  aj_arg_time(within.from),
								  aj_arg_time(within.to)));
	ranges = read_ranges(*n, context);
	aj_spi_close(&spi);
	*n = aj_ranges_tidy(ranges, *n, within);
	return ranges;
}

/*
 * aj_stale_take
 *		Nothing is stale within a range any more; parts of stale ranges that
 *		stick out of it stay.  Returns what was taken, as it was stored.
 */
AjStale *
aj_stale_take(const AjRollup *rollup, AjRange within, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjStale *rows;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	/* One statement, so that what is deleted is what is returned. */
	*n = (int) aj_spi_run(
		"WITH taken AS (DELETE FROM aggjobs.stale s"
		" WHERE s.rollup_id = $1 AND s.from_time < $3 AND s.to_time > $2"
		" RETURNING s.*),"
		" rest AS (INSERT INTO aggjobs.stale (rollup_id, from_time, to_time)"
		" SELECT $1, t.from_time, $2 FROM taken t WHERE t.from_time < $2"
		" UNION ALL"
		" SELECT $1, $3, t.to_time FROM taken t WHERE t.to_time > $3)"
		" SELECT t.from_time, t.to_time, t.part, t.tid_epoch, t.tid_xid,"
		" t.tids FROM taken t",
		AJ_ARGS(aj_arg_int8(rollup->rollup_id), aj_arg_time(within.from),
				aj_arg_time(within.to)));
	rows = read_stale_rows(*n, context);
	aj_spi_close(&spi);
	return rows;
}

/* The part of a stale range that lies in another range. */
static void
store_part(const AjRollup *rollup, const AjStale *stale, AjRange within)
{
	AjStale part = *stale;

	part.range.from = Max(stale->range.from, within.from);
	part.range.to = Min(stale->range.to, within.to);
	if (part.range.from >= part.range.to)
		return;
	if (part.range.from != stale->range.from ||
		part.range.to != stale->range.to)
		memset(&part.places, 0, sizeof(AjPlaces));
	store_stale(rollup, &part);
}

/*
 * aj_stale_cut
 *		Cut the stale ranges of a rollup where these ranges meet, which are in
 *		order and leave no gaps: who takes what is stale in one of them does
 *		not meet who does so in another.
 */
void
aj_stale_cut(const AjRollup *rollup, const AjRange *ranges, int n)
{
	AjRange all = {ranges[0].from, ranges[n - 1].to};
	int nstale;
	AjStale *stale = aj_stale_take(rollup, all, &nstale);

	for (int i = 0; i < nstale; i++)
		for (int k = 0; k < n; k++)
			store_part(rollup, &stale[i], ranges[k]);
}

/*
 * aj_dirty_of
 *		Stale and changed ranges of a rollup, as the active snapshot has them
 *		or as they are now, neither widened to buckets, nor merged, nor in
 *		order.
 */
AjRange *
aj_dirty_of(const AjRollup *rollup, bool in_snapshot, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjRange *ranges;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) (in_snapshot ? aj_spi_read : aj_spi_run)(
		"SELECT s.from_time, s.to_time FROM aggjobs.stale s"
		" WHERE s.rollup_id = $1 UNION ALL"
		" SELECT c.from_time, c.to_time"
		" FROM aggjobs.change c WHERE c.source = $2",
		AJ_ARGS(aj_arg_int8(rollup->rollup_id), aj_arg_oid(rollup->source)));
	ranges = read_ranges(*n, context);
	aj_spi_close(&spi);
	return ranges;
}

/*
 * aj_due_ranges
 *		What a refresh would find stale within a range: stale rows, change rows
 *		and all above the horizon, as ranges of whole buckets, in order.
 */
AjRange *
aj_due_ranges(const AjRollup *rollup, AjRange within, int *n)
{
	AjRange *dirty = aj_dirty_of(rollup, false, n);
	AjRange *ranges = palloc(sizeof(AjRange) * (Size) (*n + 1));

	for (int i = 0; i < *n; i++)
		ranges[i] = aj_rollup_widen(rollup, dirty[i]);
	ranges[*n].from =
		rollup->horizon == AJ_NO_TIME ? DT_NOBEGIN : rollup->horizon;
	ranges[*n].to = DT_NOEND;
	*n = aj_ranges_tidy(ranges, *n + 1, within);
	return ranges;
}
