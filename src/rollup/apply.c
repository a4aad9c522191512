/*-------------------------------------------------------------------------
 *
 * apply.c
 *	  Computes a range of a rollup and makes the target say the same.
 *
 * The query is run bucket by bucket, or over several at once where that costs
 * less, so that its rows come in the order of the key.  Where the target has
 * no row in the range, they are inserted as they are.  Else both are read in
 * that order and merged: rows that vanished are deleted, new ones inserted,
 * and only rows that differ are updated.  So a refresh writes as much as has
 * changed, and no more.
 *
 * Keys are compared as the server orders them, NULLs equal; measures by their
 * image, so that 1.0 becomes 1.00 if that is what the query says now.
 *
 * The caller has set a snapshot, in which both are read, and holds the lock
 * of the rollup, so that nobody else writes the target in between.
 *
 * No state, no locks of its own.  Runs with the rights of the current user.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/apply.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/progress.h"
#include "base/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "rollup/batch.h"
#include "rollup/compute.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/sortsupport.h"
#include "utils/typcache.h"

#define KIND_DELETE 'd'
#define KIND_INSERT 'i'
#define KIND_UPDATE 'u'

/* Columns of a difference: what to do, with which row, then the target's. */
#define DIFF_KIND 1
#define DIFF_TID 2
#define DIFF_FIRST 3

typedef struct Merge
{
	const AjRollup *rollup;
	MemoryContext context; /* of all below, deleted in the end */
	int ncolumns;
	TupleDesc desc; /* of the computed rows */
	Tuplestorestate *computed;
	TupleDesc target_desc; /* ctid first */
	Tuplestorestate *target;
	int nsort; /* columns of the key */
	SortSupport sort;
	AttrNumber *sort_columns; /* in desc */
	TupleDesc diff_desc;
	Tuplestorestate *diff;
	AjApplied found;
} Merge;

static char *
bucket_of(const AjRollup *rollup, const char *prefix)
{
	return psprintf("%s.%s", prefix, quote_identifier(rollup->bucket_column));
}

/* Where so many buckets end, or the range does. */
static TimestampTz
end_of_buckets(const AjRollup *rollup, AjRange range, int64 buckets)
{
	TimestampTz at = range.from;

	if (TIMESTAMP_IS_NOBEGIN(range.from) || TIMESTAMP_IS_NOEND(range.to))
		return range.to;
	for (int64 i = 0; i < buckets && at < range.to; i++)
		at = aj_bucket_end(&rollup->bucket, at);
	return Min(at, range.to);
}

static AjSpent
compute_part(Merge *merge, AjRange part, bool wanted_only)
{
	const AjRollup *rollup = merge->rollup;
	bool one_bucket = !TIMESTAMP_IS_NOBEGIN(part.from) &&
		part.to <= aj_bucket_end(&rollup->bucket, part.from);
	AjSpent spent;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	spent = aj_spi_query_append(
		one_bucket ? aj_compute_bucket_text(rollup, part, wanted_only)
				   : aj_compute_text(rollup, part, wanted_only),
		merge->computed, merge->context, &merge->desc);
	aj_spi_close(&spi);
	return spent;
}

/* How many buckets to begin with: all where each would cost a whole scan. */
static int64
first_step(const AjRollup *rollup, AjRange range)
{
	if (TIMESTAMP_IS_NOBEGIN(range.from) || TIMESTAMP_IS_NOEND(range.to) ||
		aj_bucket_end(&rollup->bucket, range.from) >= range.to ||
		aj_batch_reads_by_time(rollup))
		return 1;
	return PG_INT64_MAX;
}

/*
 * One bucket is computed for less than many at once, as long as planning the
 * query does not cost more than is gained.
 */
static void
compute(Merge *merge, AjRange range, bool wanted_only)
{
	AjRange part = {range.from, range.from};
	int64 buckets = first_step(merge->rollup, range);

	merge->computed = tuplestore_begin_heap(false, false, work_mem);
	do
	{
		AjRange rest = {part.to, range.to};
		AjSpent spent;

		CHECK_FOR_INTERRUPTS();
		aj_progress_phase(AJ_PHASE_COMPUTING);
		part.from = rest.from;
		part.to = end_of_buckets(merge->rollup, rest, buckets);
		spent = compute_part(merge, part, wanted_only);
		if (spent.execution > (double) buckets * spent.planning)
			buckets = 1;
		else
			buckets *= 2;
	} while (part.to < range.to);
	merge->ncolumns = merge->desc->natts;
}

static void
read_target(Merge *merge, AjRange range, bool wanted_only)
{
	const AjRollup *rollup = merge->rollup;
	AjSpi spi;
	char *sql =
		psprintf("SELECT t.ctid, %s FROM %s t WHERE %s%s%s%s ORDER BY %s",
				 aj_compute_columns(rollup, "t"), rollup->target_name,
				 aj_compute_range(rollup, bucket_of(rollup, "t"), range),
				 wanted_only ? " AND aggjobs.wanted(" : "",
				 wanted_only ? aj_compute_order(rollup, "t") : "",
				 wanted_only ? ")" : "", aj_compute_order(rollup, "t"));

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	merge->target =
		aj_spi_query_store(sql, merge->context, &merge->target_desc);
	aj_spi_close(&spi);
}

static bool
target_is_empty(const AjRollup *rollup, AjRange range)
{
	AjSpi spi;
	bool some;
	char *sql =
		psprintf("SELECT FROM %s t WHERE %s ORDER BY %s LIMIT 1",
				 rollup->target_name,
				 aj_compute_range(rollup, bucket_of(rollup, "t"), range),
				 bucket_of(rollup, "t"));

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	some = aj_spi_read_once(sql, AJ_NO_ARGS) > 0;
	aj_spi_close(&spi);
	return !some;
}

/* The computed rows go into the target as they are. */
static int64
insert_all(const Merge *merge)
{
	AjSpi spi;
	uint64 rows;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	aj_spi_offer_store("aggjobs_computed", merge->computed, merge->desc);
	rows = aj_spi_run_once(
		psprintf("INSERT INTO %s (%s) SELECT %s FROM aggjobs_computed c",
				 merge->rollup->target_name,
				 aj_compute_columns(merge->rollup, ""),
				 aj_compute_columns(merge->rollup, "c")),
		AJ_NO_ARGS);
	aj_spi_close(&spi);
	return (int64) rows;
}

static void
set_sort_column(Merge *merge, int i, const char *name)
{
	AttrNumber column = get_attnum(merge->rollup->live, name);
	Form_pg_attribute attribute = TupleDescAttr(merge->desc, column - 1);
	TypeCacheEntry *type =
		lookup_type_cache(attribute->atttypid, TYPECACHE_LT_OPR);
	SortSupport sort = &merge->sort[i];

	merge->sort_columns[i] = column;
	sort->ssup_cxt = merge->context;
	sort->ssup_collation = attribute->attcollation;
	sort->ssup_nulls_first = false;
	PrepareSortSupportFromOrderingOp(type->lt_opr, sort);
}

static void
prepare_sort(Merge *merge)
{
	const AjRollup *rollup = merge->rollup;

	merge->nsort = rollup->nkeys + 1;
	merge->sort = palloc0(sizeof(SortSupportData) * (Size) merge->nsort);
	merge->sort_columns = palloc(sizeof(AttrNumber) * (Size) merge->nsort);
	set_sort_column(merge, 0, rollup->bucket_column);
	for (int i = 0; i < rollup->nkeys; i++)
		set_sort_column(merge, i + 1, rollup->keys[i]);
}

static void
prepare_diff(Merge *merge)
{
	merge->diff_desc = CreateTemplateTupleDesc(merge->ncolumns + 2);
	TupleDescInitEntry(merge->diff_desc, DIFF_KIND, "aggjobs_kind", CHAROID, -1,
					   0);
	TupleDescInitEntry(merge->diff_desc, DIFF_TID, "aggjobs_tid", TIDOID, -1,
					   0);
	for (int i = 0; i < merge->ncolumns; i++)
		TupleDescCopyEntry(merge->diff_desc, (AttrNumber) (DIFF_FIRST + i),
						   merge->desc, (AttrNumber) (i + 1));
	for (int i = 0; i < merge->ncolumns; i++)
		namestrcpy(
			&TupleDescAttr(merge->diff_desc, DIFF_FIRST - 1 + i)->attname,
			psprintf("c%d", i + 1));
	merge->diff = tuplestore_begin_heap(false, false, work_mem);
}

/* Order of a computed row (1 to n) and one of the target (2 to n + 1). */
static int
compare_keys(const Merge *merge, TupleTableSlot *computed,
			 TupleTableSlot *target)
{
	for (int i = 0; i < merge->nsort; i++)
	{
		int column = merge->sort_columns[i];
		int order =
			ApplySortComparator(computed->tts_values[column - 1],
								computed->tts_isnull[column - 1],
								target->tts_values[column],
								target->tts_isnull[column], &merge->sort[i]);

		if (order != 0)
			return order;
	}
	return 0;
}

static bool
rows_differ(const Merge *merge, TupleTableSlot *computed,
			TupleTableSlot *target)
{
	for (int i = 0; i < merge->ncolumns; i++)
	{
		Form_pg_attribute column = TupleDescAttr(merge->desc, i);

		if (computed->tts_isnull[i] != target->tts_isnull[i + 1])
			return true;
		if (!computed->tts_isnull[i] &&
			!datum_image_eq(computed->tts_values[i], target->tts_values[i + 1],
							column->attbyval, column->attlen))
			return true;
	}
	return false;
}

static void
put(Merge *merge, char kind, TupleTableSlot *computed, TupleTableSlot *target)
{
	int n = merge->ncolumns;
	Datum *values = palloc0(sizeof(Datum) * (Size) (n + 2));
	bool *isnull = palloc(sizeof(bool) * (Size) (n + 2));

	memset(isnull, true, sizeof(bool) * (Size) (n + 2));
	values[DIFF_KIND - 1] = CharGetDatum(kind);
	isnull[DIFF_KIND - 1] = false;
	if (target != NULL)
	{
		values[DIFF_TID - 1] = target->tts_values[0];
		isnull[DIFF_TID - 1] = false;
	}
	if (computed != NULL)
	{
		memcpy(&values[DIFF_FIRST - 1], computed->tts_values,
			   sizeof(Datum) * (Size) n);
		memcpy(&isnull[DIFF_FIRST - 1], computed->tts_isnull,
			   sizeof(bool) * (Size) n);
	}
	tuplestore_putvalues(merge->diff, merge->diff_desc, values, isnull);
	pfree(values);
	pfree(isnull);
}

static bool
next_row(Tuplestorestate *store, TupleTableSlot *slot)
{
	CHECK_FOR_INTERRUPTS();
	if (!tuplestore_gettupleslot(store, true, false, slot))
		return false;
	slot_getallattrs(slot);
	return true;
}

static void
find_differences(Merge *merge)
{
	TupleTableSlot *computed =
		MakeSingleTupleTableSlot(merge->desc, &TTSOpsMinimalTuple);
	TupleTableSlot *target =
		MakeSingleTupleTableSlot(merge->target_desc, &TTSOpsMinimalTuple);
	bool some_computed = next_row(merge->computed, computed);
	bool some_target = next_row(merge->target, target);

	while (some_computed || some_target)
	{
		int order = !some_computed ? 1
			: !some_target		   ? -1
								   : compare_keys(merge, computed, target);

		if (order < 0)
		{
			put(merge, KIND_INSERT, computed, NULL);
			merge->found.inserted++;
		}
		else if (order > 0)
		{
			put(merge, KIND_DELETE, NULL, target);
			merge->found.deleted++;
		}
		else if (rows_differ(merge, computed, target))
		{
			put(merge, KIND_UPDATE, computed, target);
			merge->found.updated++;
		}
		if (order <= 0)
			some_computed = next_row(merge->computed, computed);
		if (order >= 0)
			some_target = next_row(merge->target, target);
	}
	ExecDropSingleTupleTableSlot(computed);
	ExecDropSingleTupleTableSlot(target);
}

/* "d.c1, d.c2, ..." */
static char *
diff_columns(const Merge *merge)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 1; i <= merge->ncolumns; i++)
		appendStringInfo(&text, "%sd.c%d", i > 1 ? ", " : "", i);
	return text.data;
}

static void
run_on_diff(const Merge *merge, const char *sql)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	aj_spi_offer_store("aggjobs_diff", merge->diff, merge->diff_desc);
	(void) aj_spi_run_once(sql, AJ_NO_ARGS);
	aj_spi_close(&spi);
}

/* Deletes first, then updates: no two rows ever have one key. */
static void
write_differences(const Merge *merge)
{
	const char *target = merge->rollup->target_name;

	if (merge->found.deleted > 0)
		run_on_diff(merge,
					psprintf("DELETE FROM %s t USING aggjobs_diff d"
							 " WHERE d.aggjobs_kind = 'd'"
							 " AND t.ctid = d.aggjobs_tid",
							 target));
	if (merge->found.updated > 0)
		run_on_diff(merge,
					psprintf("UPDATE %s t SET (%s) = ROW(%s)"
							 " FROM aggjobs_diff d"
							 " WHERE d.aggjobs_kind = 'u'"
							 " AND t.ctid = d.aggjobs_tid",
							 target, aj_compute_columns(merge->rollup, ""),
							 diff_columns(merge)));
	if (merge->found.inserted > 0)
		run_on_diff(merge,
					psprintf("INSERT INTO %s (%s) SELECT %s"
							 " FROM aggjobs_diff d WHERE d.aggjobs_kind = 'i'",
							 target, aj_compute_columns(merge->rollup, ""),
							 diff_columns(merge)));
}

/*
 * aj_apply
 *		Compute a range of whole buckets, or the wanted keys in it, and write
 *		to the target what differs; adds what was done to *applied.
 *
 * Errors: whatever the query or the target raises.
 */
void
aj_apply(const AjRollup *rollup, AjRange range, bool wanted_only,
		 AjApplied *applied)
{
	Merge merge = {.rollup = rollup};
	MemoryContext saved;

	merge.context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_aggjobs refresh",
							  ALLOCSET_DEFAULT_SIZES);
	saved = MemoryContextSwitchTo(merge.context);
	compute(&merge, range, wanted_only);
	aj_progress_phase(AJ_PHASE_WRITING);
	if (target_is_empty(rollup, range))
	{
		if (tuplestore_tuple_count(merge.computed) > 0)
			merge.found.inserted = insert_all(&merge);
	}
	else
	{
		read_target(&merge, range, wanted_only);
		prepare_sort(&merge);
		prepare_diff(&merge);
		find_differences(&merge);
		write_differences(&merge);
		tuplestore_end(merge.target);
		tuplestore_end(merge.diff);
	}
	tuplestore_end(merge.computed);
	MemoryContextSwitchTo(saved);
	MemoryContextDelete(merge.context);
	applied->deleted += merge.found.deleted;
	applied->inserted += merge.found.inserted;
	applied->updated += merge.found.updated;
}
