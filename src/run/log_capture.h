/*
 * log_capture.h
 *	  Collects the messages that a run raises.
 */
#ifndef AJ_RUN_LOG_CAPTURE_H
#define AJ_RUN_LOG_CAPTURE_H

#include "base/compat.h"
#include "shmem/segment.h"

extern void aj_log_capture_register(int slot_index);
extern void aj_log_capture_start(int64 run_id);
extern void aj_log_capture_stop(void);
extern void aj_log_capture_store(void);
extern int aj_log_capture_lines(void);
extern int aj_log_capture_dropped(void);
extern int aj_log_capture_fatal(const char **message);

#endif /* AJ_RUN_LOG_CAPTURE_H */
