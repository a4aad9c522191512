/*
 * errors.h
 *	  SQLSTATEs of our own, and helps for messages that quote what users wrote.
 */
#ifndef AJ_BASE_ERRORS_H
#define AJ_BASE_ERRORS_H

#include "base/compat.h"

/* The table of a rollup does not say what its query says. */
#define ERRCODE_AJ_ROLLUP_DIFFERS MAKE_SQLSTATE('A', 'J', '0', '0', '1')

/* Statements of parts were over their time limit, not the run that began them. */
#define ERRCODE_AJ_PARTS_TIMED_OUT MAKE_SQLSTATE('A', 'J', '0', '0', '2')

/* Whether to try again what failed. */
typedef enum AjErrorKind
{
	AJ_ERROR_PASSES, /* by itself: others were in the way, or resources short */
	AJ_ERROR_STAYS,	 /* until somebody changes something */
	AJ_ERROR_OTHER	 /* who knows: it depends on the data, or the code */
} AjErrorKind;

extern AjErrorKind aj_error_kind(const char *sqlstate);
extern char *aj_clip(const char *text);
extern const char *aj_cut(const char *text);

#endif /* AJ_BASE_ERRORS_H */
