/*
 * job_settings.h
 *	  The server settings that a job brings along.
 */
#ifndef AJ_RUN_JOB_SETTINGS_H
#define AJ_RUN_JOB_SETTINGS_H

#include "base/compat.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

extern void aj_job_settings_check(const Jsonb *settings);
extern void aj_job_settings_apply(const Jsonb *settings, GucAction action);

#endif /* AJ_RUN_JOB_SETTINGS_H */
