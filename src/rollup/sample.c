/*-------------------------------------------------------------------------
 *
 * sample.c
 *	  Some rows of a rollup's source, for who looks for what is wrong in them.
 *
 * Runs with the rights of who computes the rollup.  No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/sample.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "rollup/acting.h"
#include "rollup/compute.h"
#include "rollup/sample.h"

#define ROWS "3"
#define MOST_BYTES "8192"

/*
 * aj_sample_rows
 *		How many rows of its source are in a range, and some of them as an
 *		array of objects; NULL if there are none, or they are too long.
 */
Jsonb *
aj_sample_rows(const AjRollup *rollup, AjRange range, int64 *rows)
{
	MemoryContext context = CurrentMemoryContext;
	const char *time = psprintf("s.%s", quote_identifier(rollup->time_column));
	const char *from = psprintf("FROM %s s WHERE %s", rollup->source_name,
								aj_compute_range(rollup, time, range));
	AjActing acting;
	Jsonb *sample;
	AjSpi spi;

	aj_acting_begin(rollup, &acting);
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run_once(
		psprintf("SELECT (SELECT count(*) %s), CASE WHEN"
				 " pg_column_size(j.rows) <= " MOST_BYTES " THEN j.rows END"
				 " FROM (SELECT jsonb_agg(r.row) AS rows FROM (SELECT"
				 " to_jsonb(s) AS row %s LIMIT " ROWS ") r) j",
				 from, from),
		AJ_NO_ARGS);
	*rows = aj_spi_int8(0, 1, 0);
	sample = aj_spi_jsonb(0, 2, context);
	aj_spi_close(&spi);
	aj_acting_end(&acting);
	return sample;
}
