/*
 * capture.h
 *	  Notes which hours of a source a transaction has written.
 */
#ifndef AJ_ROLLUP_CAPTURE_H
#define AJ_ROLLUP_CAPTURE_H

#include "base/compat.h"

extern void aj_capture_register(void);
extern void aj_capture_suspend(Oid table);
extern void aj_capture_resume(void);

#endif /* AJ_ROLLUP_CAPTURE_H */
