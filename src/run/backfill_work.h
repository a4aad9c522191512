/*
 * backfill_work.h
 *	  The work at a backfill, by one worker or by a run that needs its outcome.
 */
#ifndef AJ_RUN_BACKFILL_WORK_H
#define AJ_RUN_BACKFILL_WORK_H

#include "base/compat.h"
#include "catalog/backfill.h"
#include "nodes/pg_list.h"
#include "run/step.h"

/* What a worker has done. */
typedef struct AjBackfillTally
{
	int64 chunks;
	int64 failures;
} AjBackfillTally;

extern int64 aj_backfill_begin(AjBackfill *backfill, List *chunks,
							   const AjBackfillOwner *owner);
extern void aj_backfill_work(AjStepHost *host, int64 backfill_id, int worker,
							 AjBackfillTally *tally);
extern int64 aj_backfill_go_on(const AjStepHost *host, const Jsonb *step);
extern char *aj_backfill_lead(AjStepHost *host, int64 backfill_id,
							  AjBackfillTally *tally);

#endif /* AJ_RUN_BACKFILL_WORK_H */
