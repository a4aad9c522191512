/*
 * capture.h
 *	  Notes what a transaction has written to the sources of rollups.
 */
#ifndef AJ_ROLLUP_CAPTURE_H
#define AJ_ROLLUP_CAPTURE_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "storage/itemptr.h"

extern void aj_capture_register(void);

extern void aj_capture_insert(Oid table, TimestampTz instant, ItemPointer tid);
extern void aj_capture_write(Oid table, TimestampTz instant);
extern void aj_capture_range(Oid table, TimestampTz from, TimestampTz to);

extern AjRange *aj_capture_pending(Oid source, int *n);
extern uint64 aj_capture_generation(void);
extern void aj_capture_horizon_raised(void);

extern void aj_capture_suspend(Oid source);
extern void aj_capture_resume(void);
extern bool aj_capture_is_suspended(Oid source);

/* capture_call.c */
extern Datum aggjobs_note_update(PG_FUNCTION_ARGS);
extern Datum aggjobs_note_delete(PG_FUNCTION_ARGS);
extern bool aj_capture_differs(const NullableDatum *before,
							   const NullableDatum *after, int16 length,
							   bool by_value);

/* capture_exec.c */
extern void aj_capture_exec_register(void);

#endif /* AJ_ROLLUP_CAPTURE_H */
