/*
 * execute.h
 *	  Run the steps of a job, in a worker or in a session.
 */
#ifndef AJ_RUN_EXECUTE_H
#define AJ_RUN_EXECUTE_H

#include "base/compat.h"
#include "catalog/job.h"
#include "run/step.h"

extern void aj_execute_in_session(AjJob *job, TimestampTz at, bool may_commit);
extern bool aj_execute_in_worker(int slot_index, int64 run_id);
extern bool aj_worker_is_running(void);
extern bool aj_worker_outlives_shutdown(void);
extern bool aj_execute_may_here(const AjJob *job);
extern void aj_execute_plan(const AjJob *job, TimestampTz at);
extern Jsonb *aj_execute_step(const Jsonb *step, AjStepHost *host);
extern TimestampTz aj_execute_deadline(const AjJob *job, TimestampTz start);

#endif /* AJ_RUN_EXECUTE_H */
