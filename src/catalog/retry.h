/*
 * retry.h
 *	  Further attempts at runs that failed.
 */
#ifndef AJ_CATALOG_RETRY_H
#define AJ_CATALOG_RETRY_H

#include "base/compat.h"
#include "catalog/run.h"

extern bool aj_retry_queue(int64 run_id, const AjRunEnd *end);

#endif /* AJ_CATALOG_RETRY_H */
