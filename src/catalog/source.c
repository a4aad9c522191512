/*-------------------------------------------------------------------------
 *
 * source.c
 *	  aggjobs.source and source_part: the tables whose changes are captured.
 *
 * Part of it is read by writers at the end of their transactions, and so
 * without SQL.
 *
 * State: the tables alone; the lock on a row of aggjobs.source is held by who
 * absorbs changes or changes the capture of that source.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/source.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "base/spi.h"
#include "catalog/namespace.h"
#include "catalog/source.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Number of the columns that are read without SQL. */
#define SOURCE_SOURCE 1
#define SOURCE_EPOCH 3
#define PART_SOURCE 1
#define PART_PART 2
#define PART_FROM 3
#define PART_TO 4

static Relation
open_table(const char *name)
{
	Oid schema = get_namespace_oid("aggjobs", true);
	Oid table =
		schema == InvalidOid ? InvalidOid : get_relname_relid(name, schema);

	return table == InvalidOid ? NULL : table_open(table, AccessShareLock);
}

static void
key_is(ScanKeyData *key, AttrNumber column, Oid value)
{
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(value));
}

/* The one row of a table of ours that has these keys, copied, or NULL. */
static HeapTuple
find_row(Relation rel, ScanKeyData *keys, int nkeys)
{
	SysScanDesc scan = systable_beginscan(rel, aj_primary_key_index(rel), true,
										  NULL, nkeys, keys);
	HeapTuple tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

static HeapTuple
find_source(Relation rel, Oid source)
{
	ScanKeyData key;

	key_is(&key, SOURCE_SOURCE, source);
	return find_row(rel, &key, 1);
}

/* Are the changes of this table captured? */
bool
aj_source_exists(Oid source)
{
	Relation rel = open_table("source");
	bool exists;

	if (rel == NULL)
		return false;
	exists = HeapTupleIsValid(find_source(rel, source));
	table_close(rel, AccessShareLock);
	return exists;
}

/* The unit in which a source's bigint time column counts. */
AjEpoch
aj_source_epoch(Oid source)
{
	Relation rel = open_table("source");
	AjEpoch epoch = AJ_EPOCH_SECOND;
	HeapTuple tuple;

	if (rel == NULL)
		return epoch;
	tuple = find_source(rel, source);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum value =
			heap_getattr(tuple, SOURCE_EPOCH, RelationGetDescr(rel), &isnull);

		if (!isnull)
			epoch = aj_epoch_from_text(TextDatumGetCString(value));
	}
	table_close(rel, AccessShareLock);
	return epoch;
}

/*
 * aj_source_cut_to_part
 *		Cut a range to what the bounds of a partition allow; false if it is
 *		not known as one.
 */
bool
aj_source_cut_to_part(Oid source, Oid part, AjRange *range)
{
	Relation rel = open_table("source_part");
	ScanKeyData keys[2];
	HeapTuple tuple;
	bool known;

	if (rel == NULL)
		return false;
	key_is(&keys[0], PART_SOURCE, source);
	key_is(&keys[1], PART_PART, part);
	tuple = find_row(rel, keys, 2);
	known = HeapTupleIsValid(tuple);
	if (known)
	{
		bool isnull;

		range->from = Max(range->from,
						  DatumGetTimestampTz(
							  heap_getattr(tuple, PART_FROM,
										   RelationGetDescr(rel), &isnull)));
		range->to = Min(range->to,
						DatumGetTimestampTz(heap_getattr(
							tuple, PART_TO, RelationGetDescr(rel), &isnull)));
	}
	table_close(rel, AccessShareLock);
	return known;
}

static AjSource *
read_sources(int n, MemoryContext context)
{
	AjSource *sources =
		MemoryContextAllocZero(context, sizeof(AjSource) * (Size) Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		char *epoch = aj_spi_text((uint64) i, 3, context);

		sources[i].source = aj_spi_oid((uint64) i, 1);
		sources[i].time_column = aj_spi_text((uint64) i, 2, context);
		sources[i].epoch =
			epoch == NULL ? AJ_EPOCH_NONE : aj_epoch_from_text(epoch);
	}
	return sources;
}

#define SOURCE_COLUMNS \
	"SELECT s.source::oid, s.time_column::text, s.epoch FROM aggjobs.source s"

/* What is stored about a source; NULL if it is none. */
AjSource *
aj_source_find(Oid source)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjSource *found = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run(SOURCE_COLUMNS " WHERE s.source = $1",
				   AJ_ARGS(aj_arg_oid(source))) > 0)
		found = read_sources(1, context);
	aj_spi_close(&spi);
	return found;
}

/* All sources, by their oid. */
AjSource *
aj_sources(int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjSource *found;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run(SOURCE_COLUMNS " ORDER BY s.source", AJ_NO_ARGS);
	found = read_sources(*n, context);
	aj_spi_close(&spi);
	return found;
}

/* Keep others from absorbing its changes or mending its capture. */
void
aj_source_lock(Oid source)
{
	(void) aj_catalog_run("SELECT FROM aggjobs.source s WHERE s.source = $1"
						  " FOR NO KEY UPDATE",
						  AJ_ARGS(aj_arg_oid(source)));
}

/* Store a source, or what has changed about it. */
void
aj_source_store(const AjSource *source)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.source AS s (source, time_column, epoch)"
		" VALUES ($1, $2, $3) ON CONFLICT (source) DO UPDATE"
		" SET time_column = excluded.time_column, epoch = excluded.epoch",
		AJ_ARGS(aj_arg_oid(source->source), aj_arg_text(source->time_column),
				aj_arg_text(source->epoch == AJ_EPOCH_NONE
								? NULL
								: aj_epoch_text(source->epoch))));
	(void) aj_catalog_run("UPDATE aggjobs.rollup r SET time_column = $2"
						  " WHERE r.source = $1 AND r.time_column <> $2",
						  AJ_ARGS(aj_arg_oid(source->source),
								  aj_arg_text(source->time_column)));
}

/* A table is no source any more. */
void
aj_source_delete(Oid source)
{
	(void) aj_catalog_run("DELETE FROM aggjobs.source s WHERE s.source = $1",
						  AJ_ARGS(aj_arg_oid(source)));
	(void) aj_catalog_run("DELETE FROM aggjobs.change c WHERE c.source = $1",
						  AJ_ARGS(aj_arg_oid(source)));
}

#define PART_COLUMNS                                            \
	"SELECT p.part::oid, p.from_time, p.to_time, c.relfilenode" \
	" FROM aggjobs.source_part p LEFT JOIN pg_class c"          \
	" ON c.oid = p.part WHERE p.source = $1 ORDER BY p.part::oid"

static AjPart *
read_parts(int n, MemoryContext context)
{
	AjPart *parts =
		MemoryContextAlloc(context, sizeof(AjPart) * (Size) Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		parts[i].part = aj_spi_oid((uint64) i, 1);
		parts[i].range.from = aj_spi_time((uint64) i, 2, AJ_NO_TIME);
		parts[i].range.to = aj_spi_time((uint64) i, 3, AJ_NO_TIME);
		parts[i].file = aj_spi_oid((uint64) i, 4);
	}
	return parts;
}

/*
 * aj_source_parts
 *		The partitions of a source as they were last seen, by their oid; as the
 *		active snapshot has them, or as they are stored now.
 */
AjPart *
aj_source_parts(Oid source, bool in_snapshot, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjPart *parts;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) (in_snapshot
					? aj_spi_read
					: aj_spi_run)(PART_COLUMNS, AJ_ARGS(aj_arg_oid(source)));
	parts = read_parts(*n, context);
	aj_spi_close(&spi);
	return parts;
}

/* The file of a table in the active snapshot. */
Oid
aj_source_file_in_snapshot(Oid table)
{
	AjSpi spi;
	Oid file = InvalidOid;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_read("SELECT c.relfilenode FROM pg_class c WHERE c.oid = $1",
					AJ_ARGS(aj_arg_oid(table))) > 0)
		file = aj_spi_oid(0, 1);
	aj_spi_close(&spi);
	return file;
}

/* Store a partition, or its new bounds. */
void
aj_source_store_part(Oid source, const AjPart *part)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.source_part AS p (source, part, from_time,"
		" to_time) VALUES ($1, $2, $3, $4) ON CONFLICT (source, part)"
		" DO UPDATE SET from_time = excluded.from_time,"
		" to_time = excluded.to_time",
		AJ_ARGS(aj_arg_oid(source), aj_arg_oid(part->part),
				aj_arg_time(part->range.from), aj_arg_time(part->range.to)));
}

/* A table is no partition of a source any more. */
void
aj_source_delete_part(Oid source, Oid part)
{
	(void) aj_catalog_run("DELETE FROM aggjobs.source_part p"
						  " WHERE p.source = $1 AND p.part = $2",
						  AJ_ARGS(aj_arg_oid(source), aj_arg_oid(part)));
}
