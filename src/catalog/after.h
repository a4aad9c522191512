/*
 * after.h
 *	  aggjobs.job_after: which jobs run after the success of which others.
 */
#ifndef AJ_CATALOG_AFTER_H
#define AJ_CATALOG_AFTER_H

#include "base/compat.h"
#include "catalog/job.h"
#include "nodes/pg_list.h"

extern void aj_after_set(const AjJob *job, List *names);
extern List *aj_after_names(int64 job_id);
extern char *aj_after_text(List *names);
extern int aj_after_succeeded(int64 run_id);

#endif /* AJ_CATALOG_AFTER_H */
