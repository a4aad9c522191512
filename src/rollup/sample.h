/*
 * sample.h
 *	  Some rows of a rollup's source.
 */
#ifndef AJ_ROLLUP_SAMPLE_H
#define AJ_ROLLUP_SAMPLE_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "utils/jsonb.h"

extern Jsonb *aj_sample_rows(const AjRollup *rollup, AjRange range,
							 int64 *rows);

#endif /* AJ_ROLLUP_SAMPLE_H */
