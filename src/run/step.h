/*
 * step.h
 *	  What a job can do: the kinds of steps.
 */
#ifndef AJ_RUN_STEP_H
#define AJ_RUN_STEP_H

#include "base/compat.h"
#include "base/json.h"
#include "rollup/refresh.h"

/* The surroundings in which steps run: a worker, or a session's CALL. */
typedef struct AjStepHost
{
	int64 run_id;
	int64 job_id;
	TimestampTz at; /* AJ_NO_TIME: what is due */
	TimestampTz now;
	MemoryContext context; /* outlives the transactions of the run */
	int slot_index;		   /* of the worker */
	bool in_worker;
	bool may_look;	 /* dry run: the owner's own queries may be run */
	AjCommit commit; /* NULL if all is one transaction */
	int64 rows_written;
} AjStepHost;

typedef struct AjStepKind
{
	const char *name;
	const char *const *keys; /* accepted in the step's object */

	/* Is the step well formed, and does it name things that exist? */
	void (*check)(const Jsonb *step);

	/*
	 * Say in NOTICEs what would be done.  Unless host->may_look the caller is
	 * not the owner: no query, table or view of the owner may be read.
	 */
	void (*plan)(const Jsonb *step, const AjStepHost *host);

	/* Do it; add figures to "result". */
	void (*run)(const Jsonb *step, AjStepHost *host, AjJson *result);

	/* Must it run outside a transaction block? NULL: never. */
	bool (*is_bare)(const Jsonb *step);
} AjStepKind;

extern const AjStepKind aj_step_backfill;
extern const AjStepKind aj_step_command;
extern const AjStepKind aj_step_health;
extern const AjStepKind aj_step_matview;
extern const AjStepKind aj_step_parts;
extern const AjStepKind aj_step_retention;
extern const AjStepKind aj_step_rollup;
extern const AjStepKind aj_step_verify;

extern const AjStepKind *aj_step_kind(const Jsonb *step);
extern void aj_steps_check(const Jsonb *steps);

#endif /* AJ_RUN_STEP_H */
