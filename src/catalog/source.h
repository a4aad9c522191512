/*
 * source.h
 *	  aggjobs.source and source_part: the tables whose changes are captured.
 */
#ifndef AJ_CATALOG_SOURCE_H
#define AJ_CATALOG_SOURCE_H

#include "base/compat.h"
#include "catalog/rollup.h"

typedef struct AjSource
{
	Oid source;
	char *time_column; /* not quoted */
	AjEpoch epoch;
} AjSource;

/* A partition of a source, with the range of time that its bounds allow. */
typedef struct AjPart
{
	Oid part;
	AjRange range;
	Oid file; /* as the snapshot in which it was read has it */
} AjPart;

extern bool aj_source_exists(Oid source);
extern AjEpoch aj_source_epoch(Oid source);
extern bool aj_source_cut_to_part(Oid source, Oid part, AjRange *range);

extern AjSource *aj_source_find(Oid source);
extern AjSource *aj_sources(int *n);
extern void aj_source_lock(Oid source);
extern void aj_source_store(const AjSource *source);
extern void aj_source_delete(Oid source);
extern AjPart *aj_source_parts(Oid source, bool in_snapshot, int *n);
extern Oid aj_source_file_in_snapshot(Oid table);
extern void aj_source_store_part(Oid source, const AjPart *part);
extern void aj_source_delete_part(Oid source, Oid part);

#endif /* AJ_CATALOG_SOURCE_H */
