/*-------------------------------------------------------------------------
 *
 * estimate.c
 *	  How big the result of a rollup is likely to be.
 *
 * The planner is asked how many groups it expects, and how wide they are.  Runs
 * with the rights of who computes the rollup.  No state; locks: those of
 * planning its query.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/estimate.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "base/json.h"
#include "base/spi.h"
#include "rollup/acting.h"
#include "rollup/compute.h"
#include "rollup/estimate.h"
#include "storage/itemid.h"

/* For the index on its key, and for pages that are not full. */
#define WITH_INDEX 1.5

static double
number_field(const Jsonb *plan, const char *key)
{
	char *text = aj_json_text_field(plan, key);

	return text == NULL ? 0 : strtod(text, NULL);
}

/*
 * aj_estimate_bytes
 *		Bytes on disk of what the query of a rollup returns for a range, its
 *		index included, as the planner sees it.
 */
int64
aj_estimate_bytes(const AjRollup *rollup, AjRange range)
{
	MemoryContext context = CurrentMemoryContext;
	AjActing acting;
	Jsonb *plan;
	AjSpi spi;
	char *text;

	aj_acting_begin(rollup, &acting);
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run_once(psprintf("EXPLAIN (FORMAT JSON) %s",
									aj_compute_text(rollup, range, false)),
						   AJ_NO_ARGS);
	text = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	aj_acting_end(&acting);
	plan = aj_json_field(aj_json_element(aj_json_parse(text), 0), "Plan");
	return (int64) (number_field(plan, "Plan Rows") *
					(MAXALIGN(SizeofHeapTupleHeader) + sizeof(ItemIdData) +
					 number_field(plan, "Plan Width")) *
					WITH_INDEX);
}
