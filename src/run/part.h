/*
 * part.h
 *	  Runs the command of a step of kind "parts" for one part.
 */
#ifndef AJ_RUN_PART_H
#define AJ_RUN_PART_H

#include "base/compat.h"
#include "executor/tuptable.h"
#include "utils/jsonb.h"

extern Jsonb *aj_part_work(const Jsonb *step, TupleDesc desc);
extern Jsonb *aj_part_of_row(TupleTableSlot *slot);
extern int64 aj_part_run(const Jsonb *work, const Jsonb *part,
						 MemoryContext context);

#endif /* AJ_RUN_PART_H */
