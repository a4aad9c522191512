/*
 * errors.h
 *	  Helps for messages that quote what users wrote.
 */
#ifndef AJ_BASE_ERRORS_H
#define AJ_BASE_ERRORS_H

#include "base/compat.h"

extern char *aj_clip(const char *text);

#endif /* AJ_BASE_ERRORS_H */
