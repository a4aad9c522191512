/*
 * compute.h
 *	  A rollup's query over a range of time, and what it puts into the target.
 */
#ifndef AJ_ROLLUP_COMPUTE_H
#define AJ_ROLLUP_COMPUTE_H

#include "base/compat.h"
#include "catalog/change.h"
#include "catalog/rollup.h"
#include "nodes/parsenodes.h"

/* What was done to the target. */
typedef struct AjApplied
{
	int64 deleted;
	int64 inserted;
	int64 updated;
} AjApplied;

extern Query *aj_compute_query(const AjRollup *rollup);
extern char *aj_compute_text(const AjRollup *rollup, AjRange range,
							 bool wanted_only);
extern char *aj_compute_bucket_text(const AjRollup *rollup, AjRange range,
									bool wanted_only);
extern char *aj_compute_keys_text(const AjRollup *rollup, AjRange range,
								  Oid part, Datum tids, Datum xids);
extern char *aj_compute_columns(const AjRollup *rollup, const char *prefix);
extern char *aj_compute_order(const AjRollup *rollup, const char *prefix);
extern char *aj_compute_range(const AjRollup *rollup, const char *column,
							  AjRange range);

/* wanted.c */
extern bool aj_wanted_find(const AjRollup *rollup, AjRange range,
						   const AjStale *stale, int n);
extern void aj_wanted_forget(void);

/* apply.c */
extern void aj_apply(const AjRollup *rollup, AjRange range, bool wanted_only,
					 AjApplied *applied);

#endif /* AJ_ROLLUP_COMPUTE_H */
