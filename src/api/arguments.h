/*
 * arguments.h
 *	  Arguments that several SQL functions take.
 */
#ifndef AJ_API_ARGUMENTS_H
#define AJ_API_ARGUMENTS_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "fmgr.h"

extern void aj_require_argument(FunctionCallInfo fcinfo, int i,
								const char *what);
extern void aj_require_primary(FunctionCallInfo fcinfo);
extern AjRange aj_range_arguments(FunctionCallInfo fcinfo, int first);

#endif /* AJ_API_ARGUMENTS_H */
