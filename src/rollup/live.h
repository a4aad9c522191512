/*
 * live.h
 *	  What of a rollup may be read from its target, in one snapshot.
 */
#ifndef AJ_ROLLUP_LIVE_H
#define AJ_ROLLUP_LIVE_H

#include "base/compat.h"
#include "catalog/rollup.h"

typedef struct AjLive
{
	TimestampTz open_from; /* all from here on is to be computed */
	int ndirty;			   /* ranges of whole buckets below, in order */
	AjRange *dirty;
	int64 nbuckets; /* in them */
} AjLive;

extern AjLive *aj_live_compute(const AjRollup *rollup);
extern TimestampTz aj_live_open_beyond(const AjRollup *rollup,
									   const AjLive *live);

#endif /* AJ_ROLLUP_LIVE_H */
