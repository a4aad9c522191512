/*
 * limits.h
 *	  The time limits of a run and of its statements.
 */
#ifndef AJ_RUN_LIMITS_H
#define AJ_RUN_LIMITS_H

#include "base/compat.h"
#include "datatype/timestamp.h"

extern void aj_time_limit_start(TimestampTz deadline);
extern void aj_time_limit_stop(void);
extern bool aj_time_limit_passed(void);
extern void aj_statement_limit_start(void);
extern void aj_statement_limit_stop(bool failed);
extern bool aj_statement_limit_passed(void);

#endif /* AJ_RUN_LIMITS_H */
