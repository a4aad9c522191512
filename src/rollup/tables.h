/*
 * tables.h
 *	  The tables that a rollup's query reads.
 */
#ifndef AJ_ROLLUP_TABLES_H
#define AJ_ROLLUP_TABLES_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "nodes/pg_list.h"
#include "utils/snapshot.h"

extern List *aj_tables_lock(const AjRollup *rollup);
extern bool aj_tables_newer(const List *tables, Snapshot snapshot);

#endif /* AJ_ROLLUP_TABLES_H */
