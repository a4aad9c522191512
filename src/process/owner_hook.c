/*-------------------------------------------------------------------------
 *
 * owner_hook.c
 *	  REASSIGN OWNED and DROP OWNED mean jobs, too.
 *
 * Jobs are rows, of which the server does not know that they belong to a role.
 * Who says REASSIGN OWNED BY a TO b means all that a owns in this database;
 * who says DROP OWNED BY a wants to be rid of it, most often to drop the role.
 * So the jobs follow, after the server has done its part and found that the
 * user may.
 *
 * A role that is dropped without either leaves its jobs behind.  They never
 * run again until somebody gives them to another role: aj_job_owner_problem().
 *
 * State: none.  Locks: those of catalog/job_owner.c.  An error here undoes the
 * statement.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/owner_hook.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "catalog/job.h"
#include "catalog/job_owner.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "process/process.h"
#include "tcop/utility.h"

static ProcessUtility_hook_type previous_utility_hook = NULL;

/*
 * Jobs are SQL that runs as their owner, so more is asked than for tables: who
 * gives them must be able to become both roles.
 */
static void
check_may_give(Oid from, Oid to)
{
	if (aj_can_become(GetUserId(), from) && aj_can_become(GetUserId(), to))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("permission denied to give the jobs of role \"%s\" to role "
				"\"%s\"",
				GetUserNameFromId(from, false), GetUserNameFromId(to, false)),
		 errhint(
			 "Jobs run as their owner: be able to SET ROLE to both roles, or drop the jobs first.")));
}

static void
give_jobs(Oid from, Oid to)
{
	char *to_name = GetUserNameFromId(to, false);
	const char *problem;
	int n;

	if (from == to)
		return;
	n = aj_jobs_of_role_give(from, to);
	if (n == 0)
		return;
	check_may_give(from, to);
	ereport(NOTICE,
			(errmsg_plural("%d job of role \"%s\" belongs to role \"%s\" now",
						   "%d jobs of role \"%s\" belong to role \"%s\" now",
						   (unsigned long) n, n, GetUserNameFromId(from, false),
						   to_name)));
	problem = aj_job_owner_problem(to, to_name, MyDatabaseId);
	if (problem != NULL)
		ereport(
			WARNING,
			(errmsg("jobs of role \"%s\" can't run", to_name),
			 errdetail("%s.", problem),
			 errhint(
				 "Give them to a role that may log in and connect, with aggjobs_alter_job(name, owner => role).")));
}

static void
drop_jobs(Oid role)
{
	int n = aj_jobs_of_role_drop(role);

	if (n > 0)
		ereport(NOTICE,
				(errmsg_plural("%d job of role \"%s\" was dropped",
							   "%d jobs of role \"%s\" were dropped",
							   (unsigned long) n, n,
							   GetUserNameFromId(role, false))));
}

/* DROP OWNED by the extension's owner may have dropped the extension. */
static bool
there_may_be_jobs(void)
{
	CommandCounterIncrement();
	return get_extension_oid("pg_aggjobs", true) != InvalidOid;
}

static void
after_reassign(const ReassignOwnedStmt *statement)
{
	Oid to = get_rolespec_oid(statement->newrole, false);
	ListCell *cell;

	foreach (cell, statement->roles)
		give_jobs(get_rolespec_oid(lfirst_node(RoleSpec, cell), false), to);
}

static void
after_drop_owned(const DropOwnedStmt *statement)
{
	ListCell *cell;

	foreach (cell, statement->roles)
		drop_jobs(get_rolespec_oid(lfirst_node(RoleSpec, cell), false));
}

static void
on_utility(PlannedStmt *planned, const char *query, bool read_only_tree,
		   ProcessUtilityContext context, ParamListInfo params,
		   QueryEnvironment *environment, DestReceiver *dest,
		   QueryCompletion *completion)
{
	Node *statement = NULL;

	/* A copy, as the statement may drop the function that it is in. */
	if (IsA(planned->utilityStmt, ReassignOwnedStmt) ||
		IsA(planned->utilityStmt, DropOwnedStmt))
		statement = copyObject(planned->utilityStmt);
	if (previous_utility_hook)
		previous_utility_hook(planned, query, read_only_tree, context, params,
							  environment, dest, completion);
	else
		standard_ProcessUtility(planned, query, read_only_tree, context, params,
								environment, dest, completion);
	if (statement == NULL || !there_may_be_jobs())
		return;
	if (IsA(statement, ReassignOwnedStmt))
		after_reassign(castNode(ReassignOwnedStmt, statement));
	else
		after_drop_owned(castNode(DropOwnedStmt, statement));
}

/* Called once, when the postmaster loads the library. */
void
aj_owner_hook_install(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = on_utility;
}
