/*
 * job_spec.h
 *	  What a user says about a job, checked and applied to it.
 */
#ifndef AJ_API_JOB_SPEC_H
#define AJ_API_JOB_SPEC_H

#include "base/compat.h"
#include "catalog/job.h"

/* Everything is NULL, or has its flag off, where nothing was said. */
typedef struct AjJobSpec
{
	char *new_name;
	char *schedule; /* "" for only by hand */
	Jsonb *steps;
	char *time_zone;
	char *description;
	Interval *timeout;	/* zero for none */
	char *memory_limit; /* "0" for none */
	Jsonb *settings;
	bool has_enabled;
	bool enabled;
	bool has_keep_successes;
	int keep_successes;
	bool has_keep_failures;
	int keep_failures;
	Interval *keep_age;
	char *owner;
	char *catch_up;
	bool has_catch_up_limit;
	int catch_up_limit;
	Interval *start_deadline; /* zero for none */
	char *overlap;
	bool has_retries;
	int retries; /* -1: as the kind of the error says */
	Interval *retry_delay;
	Interval *retry_delay_limit;
	char *queue; /* "" for none */
	bool has_priority;
	int priority;
	bool has_nice;
	int nice;
	bool has_after;
	List *after; /* names of jobs */
} AjJobSpec;

extern void aj_job_name_check(const char *name);
extern AjJob *aj_job_from_spec(const char *name, const AjJobSpec *spec);
extern void aj_job_apply_spec(AjJob *job, const AjJobSpec *spec);
extern void aj_job_plan_next(AjJob *job);
extern void aj_job_spec_from_json(const Jsonb *json, AjJobSpec *spec,
								  char **name);
extern Jsonb *aj_job_command_steps(const char *command);

#endif /* AJ_API_JOB_SPEC_H */
