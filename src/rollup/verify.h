/*
 * verify.h
 *	  Compares the table of a rollup with its query.
 */
#ifndef AJ_ROLLUP_VERIFY_H
#define AJ_ROLLUP_VERIFY_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "utils/tuplestore.h"

extern Tuplestorestate *aj_verify(const AjRollup *rollup, AjRange within,
								  MemoryContext context, TupleDesc *desc);

#endif /* AJ_ROLLUP_VERIFY_H */
