/*
 * first_fill.h
 *	  The first computation of a rollup, by several workers if it is worth it.
 */
#ifndef AJ_RUN_FIRST_FILL_H
#define AJ_RUN_FIRST_FILL_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "run/step.h"

extern void aj_first_fill(const AjRollup *rollup, const Jsonb *step,
						  AjStepHost *host, AjJson *result);

#endif /* AJ_RUN_FIRST_FILL_H */
