/*
 * copy.h
 *	  What the table of a rollup said before.
 */
#ifndef AJ_ROLLUP_COPY_H
#define AJ_ROLLUP_COPY_H

#include "base/compat.h"
#include "catalog/rollup.h"

extern Oid aj_copy_make(const AjRollup *rollup, AjRange range,
						int64 backfill_id);
extern int64 aj_copy_put_back(AjRollup *rollup, Oid copy, AjRange range);
extern void aj_copy_drop(Oid copy);

#endif /* AJ_ROLLUP_COPY_H */
