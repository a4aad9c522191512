/*-------------------------------------------------------------------------
 *
 * health.c
 *	  aggjobs.health: how things stand.
 *
 * The view holds the rules; this only reads it, with the rights of the
 * caller, as it names jobs and each may know only of some.  Needs a
 * transaction.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/health.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "catalog/health.h"

/* All rows of the view, in the caller's memory context. */
AjHealth *
aj_health_checks(int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjHealth *checks;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	*n = (int) aj_spi_run("SELECT h.check_name, h.state, h.detail"
						  " FROM aggjobs.health h",
						  AJ_NO_ARGS);
	checks = MemoryContextAlloc(context, sizeof(AjHealth) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		checks[i].name = aj_spi_text((uint64) i, 1, context);
		checks[i].state = aj_spi_text((uint64) i, 2, context);
		checks[i].detail = aj_spi_text((uint64) i, 3, context);
	}
	aj_spi_close(&spi);
	return checks;
}
