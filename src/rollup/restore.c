/*-------------------------------------------------------------------------
 *
 * restore.c
 *	  Makes a horizon that a dump restores known to writers.
 *
 * Into a new database a horizon comes before any other, and nothing has been
 * written yet by it.  Where rollups of the source have had horizons already,
 * writers have gone by these: what they wrote between them and the restored one
 * is nowhere noted, and so all of the source counts as changed.
 *
 * The horizon is published, and writers that are committing are waited for, as
 * by a refresh (shmem/gate.c); if the restore is rolled back, writers note more
 * than they need to.  No state of its own, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/restore.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "catalog/change.h"
#include "catalog/rollup.h"
#include "commands/trigger.h"
#include "shmem/gate.h"
#include "utils/builtins.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(aggjobs_on_state_restored);

/* The rollup whose state was inserted; NULL if its tables are not there. */
static AjRollup *
restored_rollup(const TriggerData *data)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	bool isnull;
	Datum name = heap_getattr(data->tg_trigtuple, 1, desc, &isnull);

	return isnull ? NULL : aj_rollup_find(TextDatumGetCString(name), true);
}

/*
 * aggjobs_on_state_restored
 *		Trigger for rows with a horizon that others than we insert.
 */
Datum
aggjobs_on_state_restored(PG_FUNCTION_ARGS)
{
	AjRollup *rollup;
	bool used;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called as a trigger")));
	rollup = restored_rollup((TriggerData *) fcinfo->context);
	if (rollup == NULL || rollup->lookback > 0)
		return PointerGetDatum(NULL);
	used = aj_gate_horizon(rollup->source) != AJ_GATE_UNKNOWN ||
		aj_rollup_source_is_used(rollup->source);
	aj_gate_publish(rollup->source, aj_rollup_greatest_horizon(rollup->source));
	aj_gate_wait();
	if (used)
		aj_change_note_everything(rollup->source);
	return PointerGetDatum(NULL);
}
