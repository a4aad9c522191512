/*
 * run_log.h
 *	  aggjobs.run_log: messages of runs.
 */
#ifndef AJ_CATALOG_RUN_LOG_H
#define AJ_CATALOG_RUN_LOG_H

#include "base/compat.h"
#include "datatype/timestamp.h"

extern void aj_run_log_add(int64 run_id, int seq, TimestampTz logged_at,
						   int elevel, const char *message);

#endif /* AJ_CATALOG_RUN_LOG_H */
