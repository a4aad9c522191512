/*
 * backfill_argument.h
 *	  The backfill that a function is to act on.
 */
#ifndef AJ_API_BACKFILL_ARGUMENT_H
#define AJ_API_BACKFILL_ARGUMENT_H

#include "base/compat.h"
#include "catalog/backfill.h"

extern AjBackfill *aj_backfill_argument(FunctionCallInfo fcinfo);
extern void aj_complain_of_backfill(const AjBackfill *backfill,
									const char *what, const char *hint);

#endif /* AJ_API_BACKFILL_ARGUMENT_H */
