/*
 * job.h
 *	  aggjobs.job and aggjobs.job_state: definitions, and where they stand.
 */
#ifndef AJ_CATALOG_JOB_H
#define AJ_CATALOG_JOB_H

#include "base/compat.h"
#include "datatype/timestamp.h"
#include "utils/jsonb.h"

/* What is run of slots that passed. */
typedef enum AjCatchUp
{
	AJ_CATCH_UP_SKIP,
	AJ_CATCH_UP_LAST,
	AJ_CATCH_UP_ALL
} AjCatchUp;

/* What a slot does while a run of the job is not over. */
typedef enum AjOverlap
{
	AJ_OVERLAP_SKIP,
	AJ_OVERLAP_QUEUE,
	AJ_OVERLAP_REPLACE
} AjOverlap;

typedef struct AjPolicy
{
	AjCatchUp catch_up;
	int catch_up_limit;		  /* most slots that are run late */
	Interval *start_deadline; /* or NULL */
	AjOverlap overlap;
	int retries;				 /* -1: as the kind of the error says */
	Interval *retry_delay;		 /* or NULL for the usual one */
	Interval *retry_delay_limit; /* or NULL for the usual one */
	char *queue;				 /* or NULL */
	int priority;
	int nice;
} AjPolicy;

typedef struct AjJob
{
	int64 job_id;
	char *name;
	char *description; /* or NULL */
	Oid owner;
	char *owner_name;
	char *schedule; /* as written; NULL: only by hand */
	char *time_zone;
	bool enabled;
	Jsonb *steps;
	Interval *timeout;	/* or NULL */
	int64 memory_limit; /* bytes, 0: none */
	Jsonb *settings;
	int keep_successes; /* -1: as the server's setting says */
	int keep_failures;
	Interval *keep_age; /* or NULL */
	AjPolicy policy;
	Oid database_oid;
	bool builtin;
	TimestampTz next_slot; /* AJ_NO_TIME: none planned */
	TimestampTz last_ended_at;
} AjJob;

/* What the scheduler needs of a job. */
typedef struct AjJobPlan
{
	int64 job_id;
	char *schedule; /* as written */
	char *time_zone;
	TimestampTz next_slot;	 /* AJ_NO_TIME: none planned yet */
	TimestampTz known_since; /* last slot, or when it was made or changed */
	TimestampTz last_ended_at;
	bool running; /* or queued */
	AjCatchUp catch_up;
	int catch_up_limit;
	Interval *start_deadline; /* or NULL */
} AjJobPlan;

extern const char *const aj_catch_up_names[];
extern const char *const aj_overlap_names[];

extern AjJob *aj_job_find(const char *name, bool missing_ok);
extern AjJob *aj_job_get(int64 job_id);
extern AjJob *aj_job_find_mine(const char *name);
extern AjJob *aj_job_find_to_change(const char *name);
extern bool aj_job_may_act(const AjJob *job);
extern int64 aj_job_insert(const AjJob *job);
extern void aj_job_update(const AjJob *job);
extern void aj_job_delete(int64 job_id);
extern char **aj_job_names(int *n, bool only_mine);
extern AjJobPlan *aj_job_plans(const int64 *job_ids, int njobs, int *n,
							   MemoryContext context);
extern void aj_job_set_next_slot(int64 job_id, TimestampTz next_slot);
extern bool aj_job_replan(int64 job_id, TimestampTz from, TimestampTz to);
extern const char *aj_job_owner_problem(Oid owner, const char *owner_name,
										Oid database_oid);
extern void aj_job_delete_of_rollup(const char *rollup, bool anybodys);

#endif /* AJ_CATALOG_JOB_H */
