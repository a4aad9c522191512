/*
 * backfill_plan.h
 *	  What a backfill consists of.
 */
#ifndef AJ_RUN_BACKFILL_PLAN_H
#define AJ_RUN_BACKFILL_PLAN_H

#include "base/compat.h"
#include "catalog/chunk.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

typedef struct AjBackfillWish
{
	const char *name; /* of a job or else a rollup */
	bool is_rollup;	  /* of a rollup only */
	AjRange range;	  /* asked for */
	int workers;	  /* 0: as many as are worth it */
	Interval *chunk;  /* width of a chunk, or NULL */
	bool parents;	  /* the rollups above, too */
	bool first_fill;  /* only rollups that were never computed */
	bool snapshot;	  /* keep what they say */
	TimestampTz now;
} AjBackfillWish;

/* Room that is likely to be taken in a tablespace. */
typedef struct AjSpaceNeed
{
	Oid tablespace; /* InvalidOid: that of the database */
	int64 bytes;
} AjSpaceNeed;

typedef struct AjBackfillPlan
{
	List *chunks; /* of AjChunk, in order of their numbers */
	int workers;
	int64 source_bytes; /* on disk, of all that is read */
	List *needs;		/* of AjSpaceNeed */
	AjBackfillOwner owner;
} AjBackfillPlan;

extern void aj_backfill_plan(const AjBackfillWish *wish, AjBackfillPlan *plan);
extern void aj_backfill_tell_space(const AjBackfillPlan *plan);
extern void aj_backfill_check_space(const AjBackfillPlan *plan);

#endif /* AJ_RUN_BACKFILL_PLAN_H */
