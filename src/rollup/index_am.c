/*-------------------------------------------------------------------------
 *
 * index_am.c
 *	  Index access method "aggjobs": hears of every row that is inserted.
 *
 * An index of this kind on the time column of a source stores nothing and
 * answers no query.  It is there because the server calls an index for every
 * new row, however that comes (INSERT, COPY, MERGE, replication, rows moved
 * between partitions), whatever session_replication_role says, and gives it
 * to new partitions by itself; and because no other way is as cheap.
 *
 * TRUNCATE builds the index anew over a table without a page, which tells of
 * it.
 *
 * State: what is known about an index, in the server's cache of relations.
 * No locks.  Failure: none of its own, but for scans, which never come.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/index_am.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/amapi.h"
#include "access/reloptions.h"
#include "catalog/pg_type_d.h"
#include "nodes/makefuncs.h"
#include "rollup/capture.h"
#include "storage/bufmgr.h"
#include "time/bucket.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(aggjobs_index_handler);

typedef struct IndexOptions
{
	int32 header; /* varlena length, never touched by us */
	int epoch;	  /* AjEpoch */
} IndexOptions;

/* Kept in rd_amcache. */
typedef struct IndexFacts
{
	Oid type;
	AjEpoch epoch;
} IndexFacts;

static relopt_kind option_kind;

static relopt_enum_elt_def epochs[] = {{"second", AJ_EPOCH_SECOND},
									   {"millisecond", AJ_EPOCH_MILLISECOND},
									   {"microsecond", AJ_EPOCH_MICROSECOND},
									   {"nanosecond", AJ_EPOCH_NANOSECOND},
									   {(const char *) NULL, 0}};

static void
define_options(void)
{
	static bool defined = false;

	if (defined)
		return;
	defined = true;
	option_kind = add_reloption_kind();
	add_enum_reloption(
		option_kind, "epoch",
		"Unit in which a bigint time column counts from 1970.", epochs,
		AJ_EPOCH_SECOND,
		"Valid values are \"second\", \"millisecond\", \"microsecond\" and \"nanosecond\".",
		AccessExclusiveLock);
}

static bytea *
options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{"epoch", RELOPT_TYPE_ENUM, offsetof(IndexOptions, epoch)}};

	define_options();
	return (bytea *) build_reloptions(reloptions, validate, option_kind,
									  sizeof(IndexOptions), table,
									  lengthof(table));
}

static const IndexFacts *
facts_of(Relation index)
{
	IndexFacts *facts = index->rd_amcache;

	if (facts != NULL)
		return facts;
	facts = MemoryContextAlloc(index->rd_indexcxt, sizeof(IndexFacts));
	facts->type = TupleDescAttr(RelationGetDescr(index), 0)->atttypid;
	facts->epoch = AJ_EPOCH_NONE;
	if (facts->type == INT8OID)
		facts->epoch = index->rd_options == NULL
			? AJ_EPOCH_SECOND
			: (AjEpoch) ((IndexOptions *) index->rd_options)->epoch;
	index->rd_amcache = facts;
	return facts;
}

/*
 * A row that only changed elsewhere keeps its time; that is for the trigger's
 * condition to judge, which knows what the rollups read.
 */
static bool
insert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
	   Relation heap, IndexUniqueCheck unique, bool unchanged, IndexInfo *info)
{
	const IndexFacts *facts = facts_of(index);
	TimestampTz instant;

	if (isnull[0] || unchanged)
		return false;
	if (facts->type == TIMESTAMPTZOID)
		instant = DatumGetTimestampTz(values[0]);
	else
		instant = aj_axis_from_datum(facts->type, facts->epoch, values[0]);
	aj_capture_insert(RelationGetRelid(heap), instant, tid);
	return false;
}

static IndexBuildResult *
build(Relation heap, Relation index, IndexInfo *info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));

	/* The server puts these figures into pg_class: leave them as they are. */
	result->heap_tuples = Max(heap->rd_rel->reltuples, 0);
	if (RelationGetNumberOfBlocks(heap) == 0)
		aj_capture_range(RelationGetRelid(heap), DT_NOBEGIN, DT_NOEND);
	return result;
}

static void
build_empty(Relation index)
{
}

static IndexBulkDeleteResult *
bulk_delete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
			IndexBulkDeleteCallback callback, void *state)
{
	return stats;
}

static IndexBulkDeleteResult *
vacuum_cleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	return stats;
}

/* Never worth a thought; there is no way to scan it anyhow. */
static void
cost_estimate(struct PlannerInfo *root, struct IndexPath *path,
			  double loop_count, Cost *startup, Cost *total,
			  Selectivity *selectivity, double *correlation, double *pages)
{
	*startup = 1.0e10;
	*total = 1.0e10;
	*selectivity = 1;
	*correlation = 0;
	*pages = 0;
}

static bool
validate(Oid opclass)
{
	return true;
}

static IndexScanDesc
begin_scan(Relation index, int nkeys, int norderbys)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("index \"%s\" can't be scanned",
					RelationGetRelationName(index)),
			 errdetail("Indexes of access method aggjobs store nothing.")));
	return NULL;
}

static void
rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
	   int norderbys)
{
}

static void
end_scan(IndexScanDesc scan)
{
}

/*
 * aggjobs_index_handler
 *		Handler of the access method.
 */
Datum
aggjobs_index_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *routine = makeNode(IndexAmRoutine);

	routine->amstrategies = 0;
	routine->amsupport = 1;
	routine->amcanmulticol = false;
	routine->amoptionalkey = true;
	routine->amkeytype = InvalidOid;
	routine->ambuild = build;
	routine->ambuildempty = build_empty;
	routine->aminsert = insert;
	routine->ambulkdelete = bulk_delete;
	routine->amvacuumcleanup = vacuum_cleanup;
	routine->amcostestimate = cost_estimate;
	routine->amoptions = options;
	routine->amvalidate = validate;
	routine->ambeginscan = begin_scan;
	routine->amrescan = rescan;
	routine->amendscan = end_scan;
	PG_RETURN_POINTER(routine);
}
