/*
 * health.h
 *	  aggjobs.health: how things stand.
 */
#ifndef AJ_CATALOG_HEALTH_H
#define AJ_CATALOG_HEALTH_H

#include "base/compat.h"

typedef struct AjHealth
{
	char *name;
	char *state; /* ok, degraded or failing */
	char *detail;
} AjHealth;

extern AjHealth *aj_health_checks(int *n);

#endif /* AJ_CATALOG_HEALTH_H */
