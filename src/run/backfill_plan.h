/*
 * backfill_plan.h
 *	  What a backfill consists of.
 */
#ifndef AJ_RUN_BACKFILL_PLAN_H
#define AJ_RUN_BACKFILL_PLAN_H

#include "base/compat.h"
#include "catalog/backfill.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

typedef struct AjBackfillWish
{
	const char *name; /* of a job or rollup */
	AjRange range;	  /* asked for */
	int workers;	  /* 0: as many as are worth it */
	Interval *chunk;  /* width of a chunk, or NULL */
	bool parents;	  /* the rollups above, too */
	TimestampTz now;
} AjBackfillWish;

typedef struct AjBackfillPlan
{
	List *chunks; /* of AjChunk, in order of their numbers */
	int workers;
	int64 source_bytes; /* on disk, of all that is read */
	Oid owner;			/* as whom it is done */
	char *owner_name;
} AjBackfillPlan;

extern void aj_backfill_plan(const AjBackfillWish *wish, AjBackfillPlan *plan);

#endif /* AJ_RUN_BACKFILL_PLAN_H */
