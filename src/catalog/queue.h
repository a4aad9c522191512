/*
 * queue.h
 *	  aggjobs.queue: groups of jobs with limits of their own.
 */
#ifndef AJ_CATALOG_QUEUE_H
#define AJ_CATALOG_QUEUE_H

#include "base/compat.h"

extern void aj_queue_name_check(const char *name);
extern char *aj_queue_checked(const char *name);
extern void aj_queue_put(const char *name, int max_workers, int min_workers);
extern void aj_queue_drop(const char *name);

#endif /* AJ_CATALOG_QUEUE_H */
