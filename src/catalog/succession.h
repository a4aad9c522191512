/*
 * succession.h
 *	  Rollups that are to take the place of others.
 */
#ifndef AJ_CATALOG_SUCCESSION_H
#define AJ_CATALOG_SUCCESSION_H

#include "base/compat.h"
#include "catalog/rollup.h"

extern AjRollup *aj_succession_find(const char *replaced);
extern void aj_succession_set_live(Oid before, Oid after);
extern void aj_succession_complete(const AjRollup *old, AjRollup *successor);

#endif /* AJ_CATALOG_SUCCESSION_H */
