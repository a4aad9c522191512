/*
 * refresh.h
 *	  Compute the buckets of a rollup that are due, or those asked for.
 */
#ifndef AJ_ROLLUP_REFRESH_H
#define AJ_ROLLUP_REFRESH_H

#include "base/compat.h"
#include "catalog/rollup.h"

/* Ends one transaction and begins the next; NULL where that can't be done. */
typedef void (*AjCommit)(void *arg);

typedef struct AjRefresh
{
	/* in */
	TimestampTz now;	   /* buckets that end later are open */
	TimestampTz at;		   /* compute the bucket of this instant; or
								 * AJ_NO_TIME: what is due */
	const AjRange *within; /* compute what is in this range, stale or
							* not; or NULL */
	AjCommit commit;
	void *commit_arg;

	/* out */
	int ranges;
	int64 rows_deleted;
	int64 rows_written; /* inserted and updated */
	AjRange computed;	/* from the first to the last */
} AjRefresh;

extern void aj_refresh(AjRollup *rollup, AjRefresh *refresh);
extern void aj_refresh_prepare(AjRollup *rollup, AjRefresh *refresh,
							   const AjRange *ranges, int n);
extern void aj_refresh_piece(AjRollup *rollup, AjRange range,
							 AjRefresh *refresh);
extern void aj_refresh_cut(AjRollup *rollup, AjRange range, TimestampTz at);
extern TimestampTz aj_refresh_reaches(const AjRollup *rollup, TimestampTz now);
extern void aj_refresh_plan(AjRollup *rollup, const AjRefresh *refresh);

#endif /* AJ_ROLLUP_REFRESH_H */
