/*
 * disk.h
 *	  How much room there is on disk.
 */
#ifndef AJ_BASE_DISK_H
#define AJ_BASE_DISK_H

#include "base/compat.h"

extern int64 aj_disk_free(Oid tablespace);
extern char *aj_disk_pretty(int64 bytes);

#endif /* AJ_BASE_DISK_H */
