/*
 * estimate.h
 *	  How big the result of a rollup is likely to be.
 */
#ifndef AJ_ROLLUP_ESTIMATE_H
#define AJ_ROLLUP_ESTIMATE_H

#include "base/compat.h"
#include "catalog/rollup.h"

extern int64 aj_estimate_bytes(const AjRollup *rollup, AjRange range);

#endif /* AJ_ROLLUP_ESTIMATE_H */
