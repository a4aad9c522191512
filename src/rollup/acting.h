/*
 * acting.h
 *	  Code of a rollup's owner never runs as a superuser.
 */
#ifndef AJ_ROLLUP_ACTING_H
#define AJ_ROLLUP_ACTING_H

#include "base/compat.h"
#include "catalog/rollup.h"

/* What aj_acting_end() puts back. */
typedef struct AjActing
{
	Oid saved_user;
	int saved_context;
	int guc_level; /* 0: nobody's place was taken */
} AjActing;

extern void aj_acting_begin(const AjRollup *rollup, AjActing *acting);
extern void aj_acting_end(const AjActing *acting);

#endif /* AJ_ROLLUP_ACTING_H */
