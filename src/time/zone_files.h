/*
 * zone_files.h
 *	  When the rules of the time zones were installed.
 */
#ifndef AJ_TIME_ZONE_FILES_H
#define AJ_TIME_ZONE_FILES_H

#include <time.h>

#include "base/compat.h"

extern time_t aj_zone_files_installed_at(void);

#endif /* AJ_TIME_ZONE_FILES_H */
