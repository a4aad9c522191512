/*-------------------------------------------------------------------------
 *
 * acting.c
 *	  Code of a rollup's owner never runs as a superuser.
 *
 * The query of a rollup, the triggers of its table and the policies on its
 * source may call functions that its owner wrote.  When a superuser refreshes
 * or verifies a rollup of somebody who is none, that code must not have a
 * superuser's rights, nor may the table get rows that row security hides from
 * its owner.  So the query is run and the table written as the owner, as the
 * server does for a materialized view, and nothing that the code sets or
 * schedules outlives that.
 *
 * Anybody else acts as himself: he has no more rights than he was given.
 *
 * State: the caller's, in AjActing.  The abort of a (sub)transaction puts user
 * and settings back when an error comes first.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/acting.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "miscadmin.h"
#include "rollup/acting.h"
#include "rollup/define.h"
#include "utils/guc.h"

/*
 * aj_acting_begin
 *		Be the owner of the rollup's table until aj_acting_end(), if the current
 *		user is a superuser and that owner is none.
 */
void
aj_acting_begin(const AjRollup *rollup, AjActing *acting)
{
	Oid owner = aj_owner_of(rollup->target);

	acting->guc_level = 0;
	if (owner == InvalidOid || !superuser() || superuser_arg(owner))
		return;
	GetUserIdAndSecContext(&acting->saved_user, &acting->saved_context);
	SetUserIdAndSecContext(
		owner, acting->saved_context | SECURITY_RESTRICTED_OPERATION);
	acting->guc_level = NewGUCNestLevel();
}

void
aj_acting_end(const AjActing *acting)
{
	if (acting->guc_level == 0)
		return;
	AtEOXact_GUC(false, acting->guc_level);
	SetUserIdAndSecContext(acting->saved_user, acting->saved_context);
}
