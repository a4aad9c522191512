/*
 * batch.h
 *	  How much of a stale range is computed in one transaction.
 */
#ifndef AJ_ROLLUP_BATCH_H
#define AJ_ROLLUP_BATCH_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "portability/instr_time.h"

typedef struct AjBatch
{
	const AjRollup *rollup;
	bool can_split;	  /* can a part of the time be read for less? */
	int64 width;	  /* of the next, on the axis */
	instr_time start; /* of the one at work */
} AjBatch;

extern bool aj_batch_reads_by_time(const AjRollup *rollup);
extern TimestampTz aj_batch_edge(const AjRollup *rollup, AjRange range,
								 const char *which);
extern void aj_batch_begin(AjBatch *batch, const AjRollup *rollup);
extern AjRange aj_batch_next(AjBatch *batch, AjRange stale);
extern void aj_batch_done(AjBatch *batch, AjRange range);

#endif /* AJ_ROLLUP_BATCH_H */
