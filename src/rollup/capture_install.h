/*
 * capture_install.h
 *	  Puts the capture of a source in place, keeps it there, removes it.
 */
#ifndef AJ_ROLLUP_CAPTURE_INSTALL_H
#define AJ_ROLLUP_CAPTURE_INSTALL_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

/* Names of the triggers on a source, and on its partitions. */
#define AJ_UPDATE_TRIGGER "aggjobs_capture_update"
#define AJ_DELETE_TRIGGER "aggjobs_capture_delete"

extern void aj_capture_install(Oid source, const char *time_column,
							   AjEpoch epoch, const Bitmapset *read);
extern void aj_capture_reinstall(Oid source, const char *time_column,
								 AjEpoch epoch);
extern void aj_capture_remove(Oid source);
extern Bitmapset *aj_capture_columns(Oid source);
extern void aj_capture_depend(const AjRollup *rollup);
extern void aj_capture_independ(const AjRollup *rollup);

/* capture_check.c */
extern char *aj_capture_check(Oid source);
extern void aj_capture_mend(Oid source);
extern bool aj_capture_is_whole(const AjRollup *rollup);
extern void aj_capture_absorb(Oid source);

/* capture_parts.c */
extern List *aj_capture_parts(Oid source, const char *time_column,
							  AjEpoch epoch, List **detaching);
extern AjRange aj_capture_part_range(Oid source, Oid part,
									 const char *time_column, AjEpoch epoch);
extern void aj_capture_sync_parts(Oid source, const char *time_column,
								  AjEpoch epoch);

#endif /* AJ_ROLLUP_CAPTURE_INSTALL_H */
