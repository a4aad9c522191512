/*
 * job_owner.h
 *	  All jobs of a role, in aggjobs.job.
 */
#ifndef AJ_CATALOG_JOB_OWNER_H
#define AJ_CATALOG_JOB_OWNER_H

#include "base/compat.h"

extern int aj_jobs_of_role_give(Oid from, Oid to);
extern int aj_jobs_of_role_drop(Oid role);

#endif /* AJ_CATALOG_JOB_OWNER_H */
