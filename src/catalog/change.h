/*
 * change.h
 *	  aggjobs.change and aggjobs.stale: ranges of time that were written.
 */
#ifndef AJ_CATALOG_CHANGE_H
#define AJ_CATALOG_CHANGE_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "storage/itemptr.h"

/* One range in which a source was written by one transaction. */
typedef struct AjChange
{
	Oid source;
	AjRange range;
	int64 rows; /* written in the range */
	Oid part;	/* the table that holds "tids" */
	Oid file;	/* to which they belong */
	int ntids;	/* 0: anything may have been done in the range */
	ItemPointerData *tids;
} AjChange;

/* Where the rows are that make a range stale, as stored. */
typedef struct AjPlaces
{
	Oid part;
	int64 epoch;
	TransactionId xid;
	Datum tids; /* tid[]; 0: the whole range is stale */
	int ntids;
} AjPlaces;

typedef struct AjStale
{
	AjRange range;
	AjPlaces places;
} AjStale;

extern bool aj_change_can_append(void);
extern void aj_change_append(const AjChange *change);
extern void aj_change_note_everything(Oid source);
extern bool aj_change_absorb(Oid source);

extern void aj_stale_add(const AjRollup *rollup, AjRange range);
extern AjRange *aj_stale_ranges(const AjRollup *rollup, AjRange within, int *n);
extern AjStale *aj_stale_take(const AjRollup *rollup, AjRange within, int *n);
extern void aj_stale_cut(const AjRollup *rollup, const AjRange *ranges, int n);
extern AjRange *aj_dirty_of(const AjRollup *rollup, bool in_snapshot, int *n);

extern int aj_ranges_tidy(AjRange *ranges, int n, AjRange within);
extern AjRange *aj_due_ranges(const AjRollup *rollup, AjRange within, int *n);

extern Oid aj_file_of(Oid table);
extern int64 aj_places_epoch(Oid table, Oid file);

#endif /* AJ_CATALOG_CHANGE_H */
