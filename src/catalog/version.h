/*
 * version.h
 *	  The versions of the library that is loaded and of the script.
 */
#ifndef AJ_CATALOG_VERSION_H
#define AJ_CATALOG_VERSION_H

#include "base/compat.h"

/* How the script stands to the library. */
typedef enum AjVersionState
{
	AJ_VERSION_SAME,
	AJ_VERSION_SCRIPT_OLDER, /* which the library knows how to work with */
	AJ_VERSION_SCRIPT_NEWER	 /* of which it knows nothing */
} AjVersionState;

extern const char *const aj_version_state_names[];

extern AjVersionState aj_version_state(char **script);

#endif /* AJ_CATALOG_VERSION_H */
