/*-------------------------------------------------------------------------
 *
 * succession.c
 *	  Rollups that are to take the place of others, in aggjobs.rollup.
 *
 * A rollup that is altered has a successor, whose "replaces" names it.
 *
 * State: the table alone; both rows are locked by the caller before they
 * change (aj_rollup_lock).  Runs with the rights of the extension's owner.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/succession.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "catalog/succession.h"

/* The successor of a rollup, or NULL. */
AjRollup *
aj_succession_find(const char *replaced)
{
	MemoryContext context = CurrentMemoryContext;
	char *name = NULL;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT r.rollup_name FROM aggjobs.rollup r"
				   " WHERE r.replaces = $1",
				   AJ_ARGS(aj_arg_text(replaced))) > 0)
		name = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	return name == NULL ? NULL : aj_rollup_find(name, true);
}

/*
 * aj_succession_complete
 *		The successor takes over name and live view of a rollup, and the
 *		rollups above; the row of the old one goes.
 */
void
aj_succession_complete(const AjRollup *old, AjRollup *successor)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	/* Names are unique, and others refer to them. */
	(void) aj_spi_run("UPDATE aggjobs.rollup SET rollup_name ="
					  " format('%s, replaced by %s', rollup_id, $2::bigint)"
					  " WHERE rollup_id = $1",
					  AJ_ARGS(aj_arg_int8(old->rollup_id),
							  aj_arg_int8(successor->rollup_id)));
	(void) aj_spi_run("UPDATE aggjobs.rollup SET rollup_name = $2,"
					  " live = $3, replaces = NULL WHERE rollup_id = $1",
					  AJ_ARGS(aj_arg_int8(successor->rollup_id),
							  aj_arg_text(old->name), aj_arg_oid(old->live)));
	(void) aj_spi_run("UPDATE aggjobs.rollup SET source = $2,"
					  " source_rollup = $3 WHERE source = $1",
					  AJ_ARGS(aj_arg_oid(old->target),
							  aj_arg_oid(successor->target),
							  aj_arg_text(old->name)));
	(void) aj_spi_run(
		"UPDATE aggjobs.rollup_state s SET late_rows = s.late_rows"
		" + o.late_rows FROM aggjobs.rollup_state o, aggjobs.rollup r"
		" WHERE s.rollup_name = $2 AND r.rollup_id = $1"
		" AND o.rollup_name = r.rollup_name",
		AJ_ARGS(aj_arg_int8(old->rollup_id), aj_arg_text(old->name)));
	(void) aj_spi_run("DELETE FROM aggjobs.rollup WHERE rollup_id = $1",
					  AJ_ARGS(aj_arg_int8(old->rollup_id)));
	aj_spi_close(&spi);
	successor->name = old->name;
	successor->replaces = NULL;
	successor->live = old->live;
	successor->live_name = old->live_name;
}

/* A live view was made anew. */
void
aj_succession_set_live(Oid before, Oid after)
{
	(void) aj_catalog_run("UPDATE aggjobs.rollup SET live = $2"
						  " WHERE live = $1",
						  AJ_ARGS(aj_arg_oid(before), aj_arg_oid(after)));
}
